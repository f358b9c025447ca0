//! ImageService: the images of this node, which it shares with the pods of the API.

use super::{Calls, Cri, now};
use crate::machine::refuse;
use crate::node::chain;
use crate::pods::images::{Images, NotRemoved};
use base64::Engine;
use oci::{Auth, Reference};
use proto::cri::runtime::v1 as cri;
use proto::cri::runtime::v1::image_service_server::ImageService;
use std::pin::Pin;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// Items in one message of a stream.
const CHUNK: usize = 500;

/// Messages, for calls that answer with many.
pub type Many<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A list in messages of at most [`CHUNK`] items.
pub fn chunks<I: Clone + Send + 'static, T: Send + 'static>(items: &[I], message: fn(Vec<I>) -> T) -> Many<T> {
    let messages: Vec<Result<T, Status>> = items.chunks(CHUNK).map(|chunk| Ok(message(chunk.to_vec()))).collect();
    Box::pin(tokio_stream::iter(messages))
}

#[tonic::async_trait]
impl ImageService for Calls {
    async fn list_images(
        &self,
        request: Request<cri::ListImagesRequest>,
    ) -> Result<Response<cri::ListImagesResponse>, Status> {
        let images = self.images(request.into_inner().filter).await?;
        Ok(Response::new(cri::ListImagesResponse { images }))
    }

    type StreamImagesStream = Many<cri::StreamImagesResponse>;

    async fn stream_images(
        &self,
        request: Request<cri::StreamImagesRequest>,
    ) -> Result<Response<Self::StreamImagesStream>, Status> {
        let images = self.images(request.into_inner().filter).await?;
        Ok(Response::new(chunks(&images, |images| cri::StreamImagesResponse {
            images,
        })))
    }

    async fn image_status(
        &self,
        request: Request<cri::ImageStatusRequest>,
    ) -> Result<Response<cri::ImageStatusResponse>, Status> {
        let request = request.into_inner();
        let name = named(request.image)?;
        let images = self.host.images.clone();
        let found = refuse::blocking(move || find(&images, &name)).await?;
        let mut answer = cri::ImageStatusResponse::default();
        if let Some(image) = found {
            if request.verbose {
                let info = serde_json::json!({"digest": image.digest, "layers": image.layers, "config": image.config});
                answer.info.insert("info".to_owned(), info.to_string());
            }
            answer.image = Some(shown(&image));
        }
        Ok(Response::new(answer))
    }

    async fn pull_image(
        &self,
        request: Request<cri::PullImageRequest>,
    ) -> Result<Response<cri::PullImageResponse>, Status> {
        let request = request.into_inner();
        let name = named(request.image)?;
        let auth = request.auth.map(auth).transpose()?.flatten();
        let got = self.host.images.have_anew(&name, auth.as_ref()).await;
        let got = got.map_err(|missing| match missing.reason {
            "InvalidImageName" => refuse::invalid(missing.message),
            "SignatureValidationFailed" => Status::unknown(format!("{}: {}", missing.reason, missing.message)),
            _ => Status::unknown(format!("failed to pull image {name:?}: {}", missing.message)),
        })?;
        Ok(Response::new(cri::PullImageResponse {
            image_ref: got.image.id,
        }))
    }

    async fn remove_image(
        &self,
        request: Request<cri::RemoveImageRequest>,
    ) -> Result<Response<cri::RemoveImageResponse>, Status> {
        let name = named(request.into_inner().image)?;
        let images = self.host.images.clone();
        refuse::blocking(move || {
            // By any of its names all of them go, as the interface has it.
            let Some(image) = find(&images, &name)? else {
                return Ok(());
            };
            match images.remove(&image.id) {
                Ok(()) | Err(NotRemoved::Absent(_)) => Ok(()),
                Err(why @ NotRemoved::Used { .. }) => Err(refuse::not_now(why)),
                Err(why @ NotRemoved::Store(_)) => Err(refuse::failed(chain(&why))),
            }
        })
        .await?;
        Ok(Response::new(cri::RemoveImageResponse {}))
    }

    async fn image_fs_info(
        &self,
        _: Request<cri::ImageFsInfoRequest>,
    ) -> Result<Response<cri::ImageFsInfoResponse>, Status> {
        let images = self.host.paths.oci.clone();
        let containers = self.host.paths.cri.join("containers");
        let (images, containers) = refuse::blocking(move || {
            Ok((
                super::stats::disk(&images, now()),
                super::stats::disk(&containers, now()),
            ))
        })
        .await?;
        Ok(Response::new(cri::ImageFsInfoResponse {
            image_filesystems: vec![images],
            container_filesystems: vec![containers],
        }))
    }
}

impl Cri {
    /// All images, or the one that a filter names.
    async fn images(&self, filter: Option<cri::ImageFilter>) -> Result<Vec<cri::Image>, Status> {
        let images = self.host.images.clone();
        let wanted = filter.and_then(|filter| filter.image).map(|spec| spec.image);
        refuse::blocking(move || {
            let found = match wanted.filter(|name| !name.is_empty()) {
                Some(name) => find(&images, &name)?.into_iter().collect(),
                None => images.store().and_then(|store| store.list()).map_err(refuse::failed)?,
            };
            Ok(found.iter().map(shown).collect())
        })
        .await
    }
}

fn named(spec: Option<cri::ImageSpec>) -> Result<String, Status> {
    let name = spec.map(|spec| spec.image).filter(|name| !name.is_empty());
    name.ok_or_else(|| refuse::invalid("no image is named"))
}

/// By name, by ID or the beginning of one, or by repository and digest. Blocks.
pub fn find(images: &Images, name: &str) -> Result<Option<oci::Image>, Status> {
    let store = images.store().map_err(refuse::failed)?;
    if let Some(image) = store.get(name).map_err(refuse::failed)? {
        return Ok(Some(image));
    }
    let all = store.list().map_err(refuse::failed)?;
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    // As short as people shorten them and not so short that it is a word.
    let is_short_id = hex.len() >= 6 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let begins = |image: &&oci::Image| is_short_id && image.id.trim_start_matches("sha256:").starts_with(hex);
    let has_digest = |image: &&oci::Image| match name.parse::<Reference>() {
        Ok(Reference {
            digest: Some(_),
            tag: None,
            ..
        }) => digests(image).contains(&name.to_owned()),
        Ok(_) | Err(_) => false,
    };
    let mut begun = all.iter().filter(begins);
    let only = begun.next().filter(|_| begun.next().is_none());
    Ok(only.or_else(|| all.iter().find(has_digest)).cloned())
}

/// Its names by digest.
pub fn digests(image: &oci::Image) -> Vec<String> {
    let mut digests: Vec<String> = image
        .names
        .iter()
        .filter_map(|name| name.parse::<Reference>().ok())
        .map(|name| {
            let digest = name.digest.as_deref().unwrap_or(&image.digest);
            format!("{}/{}@{digest}", name.registry, name.repository)
        })
        .collect();
    digests.sort();
    digests.dedup();
    digests
}

fn shown(image: &oci::Image) -> cri::Image {
    let tags = image.names.iter().filter(|name| !name.contains('@'));
    let user = image.config.user.split(':').next().unwrap_or_default();
    let uid = user.parse::<i64>().ok();
    cri::Image {
        id: image.id.clone(),
        repo_tags: tags.cloned().collect(),
        repo_digests: digests(image),
        size: image.size.max(1),
        uid: uid.map(|value| cri::Int64Value { value }),
        username: if uid.is_some() { String::new() } else { user.to_owned() },
        spec: Some(cri::ImageSpec {
            image: image.id.clone(),
            ..cri::ImageSpec::default()
        }),
        pinned: false,
    }
}

/// Who we are at the registry; nothing where the caller says nothing.
fn auth(auth: cri::AuthConfig) -> Result<Option<Auth>, Status> {
    if !auth.registry_token.is_empty() {
        return Ok(Some(Auth::Bearer(auth.registry_token)));
    }
    if !auth.username.is_empty() {
        return Ok(Some(Auth::Basic {
            user: auth.username,
            password: auth.password,
        }));
    }
    if !auth.auth.is_empty() {
        let text = base64::engine::general_purpose::STANDARD.decode(&auth.auth);
        let text = text.ok().and_then(|text| String::from_utf8(text).ok());
        let pair = text.as_deref().and_then(|text| text.split_once(':'));
        let (user, password) = pair.ok_or_else(|| refuse::invalid("auth is no user:password in base64"))?;
        return Ok(Some(Auth::Basic {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        }));
    }
    match auth.identity_token.is_empty() {
        true => Ok(None),
        false => Err(refuse::invalid("identity tokens are not supported; use registry_token")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_tags_and_digests() {
        let other = format!("sha256:{}", "b".repeat(64));
        let image = oci::Image {
            id: format!("sha256:{}", "1".repeat(64)),
            digest: format!("sha256:{}", "a".repeat(64)),
            names: vec![
                "r.test/x:1".to_owned(),
                "r.test/x:2".to_owned(),
                format!("r.test/x@{other}"),
            ],
            layers: Vec::new(),
            size: 0,
            config: oci::Config {
                user: "nginx:nginx".to_owned(),
                ..oci::Config::default()
            },
        };
        let shown = shown(&image);
        assert_eq!(shown.repo_tags, ["r.test/x:1", "r.test/x:2"]);
        assert_eq!(
            shown.repo_digests,
            [format!("r.test/x@{}", image.digest), format!("r.test/x@{other}")]
        );
        assert_eq!((shown.uid, shown.username.as_str()), (None, "nginx"));
        assert!(shown.size > 0);
    }

    #[test]
    fn credentials_come_in_three_ways() {
        let basic = cri::AuthConfig {
            auth: "dTpwOnc=".to_owned(),
            ..cri::AuthConfig::default()
        };
        assert!(matches!(auth(basic), Ok(Some(Auth::Basic { user, password })) if user == "u" && password == "p:w"));
        let token = cri::AuthConfig {
            registry_token: "t".to_owned(),
            ..cri::AuthConfig::default()
        };
        assert!(matches!(auth(token), Ok(Some(Auth::Bearer(token))) if token == "t"));
        assert!(matches!(auth(cri::AuthConfig::default()), Ok(None)));
        let nonsense = cri::AuthConfig {
            auth: "%".to_owned(),
            ..cri::AuthConfig::default()
        };
        assert!(auth(nonsense).is_err());
    }
}
