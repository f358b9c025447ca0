//! The verbs on one kind in one namespace, in all of them, or in none.

use crate::error::Error;
use crate::object::{Dynamic, List, Object, Resource};
use crate::options::{ListOptions, Patch, WatchOptions};
use crate::transport::{Body, Transport};
use crate::watch::Watch;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;

/// How often a list is read anew from its beginning when its pages expire while they are read.
const LIST_TRIES: usize = 3;

/// One kind, seen from one place. Cheap to make and to clone.
pub struct Api<K> {
    transport: Arc<dyn Transport>,
    path: String,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        Api {
            transport: self.transport.clone(),
            path: self.path.clone(),
            kind: PhantomData,
        }
    }
}

impl<K: Object + k8s_openapi::Resource> Api<K> {
    /// In all namespaces (to list and watch), or of a kind that has none.
    pub fn all(transport: Arc<dyn Transport>) -> Api<K> {
        Api::at(transport, &Resource::of::<K>(), None)
    }

    /// In one namespace.
    pub fn namespaced(transport: Arc<dyn Transport>, namespace: &str) -> Api<K> {
        Api::at(transport, &Resource::of::<K>(), Some(namespace))
    }
}

impl Api<Dynamic> {
    /// Of any kind, as JSON.
    pub fn dynamic(transport: Arc<dyn Transport>, resource: &Resource, namespace: Option<&str>) -> Api<Dynamic> {
        Api::at(transport, resource, namespace)
    }

    /// Of no kind: to read whatever the server has at a path.
    pub(crate) fn server(transport: Arc<dyn Transport>) -> Api<Dynamic> {
        Api {
            transport,
            path: String::new(),
            kind: PhantomData,
        }
    }

    pub(crate) async fn read(&self, path: &str) -> Result<Dynamic, Error> {
        self.call(Method::GET, path.to_owned(), None::<(&str, &())>).await
    }
}

impl<K: Object> Api<K> {
    /// Of a kind that is known by its place alone; `K` is as much of its objects as is read.
    pub fn at(transport: Arc<dyn Transport>, resource: &Resource, namespace: Option<&str>) -> Api<K> {
        Api {
            transport,
            path: resource.path(namespace),
            kind: PhantomData,
        }
    }

    /// Reads one.
    pub async fn get(&self, name: &str) -> Result<K, Error> {
        self.call(Method::GET, format!("{}/{name}", self.path), None::<(&str, &())>)
            .await
    }

    /// Reads one page, or all with `limit: 0`.
    pub async fn list(&self, options: &ListOptions) -> Result<List<K>, Error> {
        self.call(
            Method::GET,
            format!("{}{}", self.path, options.query()),
            None::<(&str, &())>,
        )
        .await
    }

    /// Reads all pages; the list has the version of its last page.
    pub async fn list_all(&self, options: &ListOptions) -> Result<List<K>, Error> {
        let mut tries = 1;
        loop {
            match self.pages(options.clone()).await {
                Err(error) if error.is_expired() && tries < LIST_TRIES => tries += 1,
                result => return result,
            }
        }
    }

    async fn pages(&self, mut options: ListOptions) -> Result<List<K>, Error> {
        let mut whole = self.list(&options).await?;
        while let Some(token) = whole.metadata.continue_.take().filter(|token| !token.is_empty()) {
            options.continue_token = token;
            options.resource_version = String::new();
            let page = self.list(&options).await?;
            whole.items.extend(page.items);
            whole.metadata = page.metadata;
        }
        Ok(whole)
    }

    /// Creates one; a missing name is made up by the server from `generateName`.
    pub async fn create(&self, object: &K) -> Result<K, Error> {
        self.call(Method::POST, self.path.clone(), Some(("application/json", object)))
            .await
    }

    /// Writes all of one; with a resourceVersion in it only if nobody else wrote meanwhile.
    pub async fn replace(&self, name: &str, object: &K) -> Result<K, Error> {
        self.call(
            Method::PUT,
            format!("{}/{name}", self.path),
            Some(("application/json", object)),
        )
        .await
    }

    /// Changes parts of one.
    pub async fn patch(&self, name: &str, patch: &Patch) -> Result<K, Error> {
        self.call(
            Method::PATCH,
            format!("{}/{name}", self.path),
            Some((patch.content_type(), patch.body())),
        )
        .await
    }

    /// Writes the status of one, and nothing else of it.
    pub async fn replace_status(&self, name: &str, object: &K) -> Result<K, Error> {
        self.call(
            Method::PUT,
            format!("{}/{name}/status", self.path),
            Some(("application/json", object)),
        )
        .await
    }

    /// Changes parts of the status of one.
    pub async fn patch_status(&self, name: &str, patch: &Patch) -> Result<K, Error> {
        let path = format!("{}/{name}/status", self.path);
        self.call(Method::PATCH, path, Some((patch.content_type(), patch.body())))
            .await
    }

    /// The same for whoever hears by a watch what became of it: the answer is short, and nobody reads it.
    pub async fn report_status(&self, name: &str, patch: &Patch) -> Result<(), Error> {
        let path = format!("{}/{name}/status", self.path);
        self.tell(Method::PATCH, path, (patch.content_type(), patch.body()))
            .await
    }

    /// Changes parts of one, likewise.
    pub async fn amend(&self, name: &str, patch: &Patch) -> Result<(), Error> {
        let path = format!("{}/{name}", self.path);
        self.tell(Method::PATCH, path, (patch.content_type(), patch.body()))
            .await
    }

    /// Makes one, for whoever does not need to know what the server made of it.
    pub async fn submit(&self, object: &K) -> Result<(), Error> {
        self.tell(Method::POST, self.path.clone(), ("application/json", object))
            .await
    }

    /// Posts to a subresource such as `binding` and reads whatever it answers.
    pub async fn post<B: Serialize>(&self, name: &str, subresource: &str, body: &B) -> Result<Dynamic, Error> {
        let path = format!("{}/{name}/{subresource}", self.path);
        self.call(Method::POST, path, Some(("application/json", body))).await
    }

    /// Puts to a subresource such as `finalize`.
    pub async fn put<B: Serialize>(&self, name: &str, subresource: &str, body: &B) -> Result<Dynamic, Error> {
        let path = format!("{}/{name}/{subresource}", self.path);
        self.call(Method::PUT, path, Some(("application/json", body))).await
    }

    /// Deletes one, or begins to: what has finalizers or a grace period is still there afterwards.
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<Dynamic, Error> {
        self.call(
            Method::DELETE,
            format!("{}/{name}", self.path),
            Some(("application/json", options)),
        )
        .await
    }

    /// Deletes all that is here, each as [`Api::delete`] does.
    pub async fn delete_collection(&self, options: &DeleteOptions) -> Result<(), Error> {
        let deleted: Result<Dynamic, Error> = self
            .call(Method::DELETE, self.path.clone(), Some(("application/json", options)))
            .await;
        deleted.map(drop)
    }

    /// Watches; the events come as the server sends them.
    pub async fn watch(&self, options: &WatchOptions) -> Result<Watch<K>, Error> {
        let path = format!("{}{}", self.path, options.query());
        let what = format!("watch {path}");
        let reply = self.exchange(Method::GET, &path, &what, None, WHOLE).await?;
        Ok(Watch::new(what, reply.into_body()))
    }

    async fn call<B: Serialize + ?Sized, R: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: Option<(&str, &B)>,
    ) -> Result<R, Error> {
        let what = format!("{method} {path}");
        let body = match body {
            Some((content_type, body)) => Some((content_type, encode(body, &what)?)),
            None => None,
        };
        let reply = self.exchange(method, &path, &what, body, WHOLE).await?;
        let body = collect(reply, &what).await?;
        serde_json::from_slice(&body).map_err(|cause| Error::Decode { what, cause })
    }

    async fn tell<B: Serialize + ?Sized>(
        &self,
        method: Method,
        path: String,
        (content_type, body): (&str, &B),
    ) -> Result<(), Error> {
        let what = format!("{method} {path}");
        let body = encode(body, &what)?;
        let reply = self
            .exchange(method, &path, &what, Some((content_type, body)), METADATA)
            .await?;
        // To its end, so that the connection is free for the next request.
        collect(reply, &what).await.map(drop)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        what: &str,
        body: Option<(&str, Bytes)>,
        accept: &'static str,
    ) -> Result<Response<Body>, Error> {
        let unreachable = |cause| Error::Unreachable {
            what: what.to_owned(),
            cause,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, accept);
        let body = match body {
            Some((content_type, body)) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                body
            }
            None => Bytes::new(),
        };
        let request = request
            .body(body)
            .map_err(|cause| unreachable(std::io::Error::other(cause)))?;
        let reply = self.transport.send(request).await.map_err(unreachable)?;
        let code = reply.status();
        if code.is_success() {
            return Ok(reply);
        }
        let body = collect(reply, what).await?;
        Err(Error::Refused {
            what: what.to_owned(),
            status: Box::new(refusal(code, &body)),
        })
    }
}

/// The object as it is.
const WHOLE: &str = "application/json";
/// Nothing but its metadata, from servers that can.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

fn encode<B: Serialize + ?Sized>(body: &B, what: &str) -> Result<Bytes, Error> {
    let encoded = serde_json::to_vec(body).map_err(|cause| Error::Encode {
        what: what.to_owned(),
        cause,
    });
    encoded.map(Bytes::from)
}

async fn collect(reply: Response<Body>, what: &str) -> Result<Bytes, Error> {
    let body = reply.into_body().collect().await;
    Ok(body
        .map_err(|cause| Error::Unreachable {
            what: what.to_owned(),
            cause,
        })?
        .to_bytes())
}

/// The server's Status, or one made of what it sent instead.
fn refusal(code: StatusCode, body: &[u8]) -> Status {
    let mut status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| Status {
        message: Some(String::from_utf8_lossy(body).into_owned()),
        ..Status::default()
    });
    status.code.get_or_insert(code.as_u16().into());
    status
}
