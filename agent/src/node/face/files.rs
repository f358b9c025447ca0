//! `/logs/`: the machine's log files as pages to look through (upstream: the kubelet's file server of /var/log). A link that leads
//! out of the folder leads nowhere.

use super::query::decode;
use super::{Body, Refusal, streamed, whole};
use http::{HeaderValue, Response, StatusCode, header};
use linux::beneath::Folder;
use rustix::fs::OFlags;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use tokio_util::io::ReaderStream;

/// What stands at a path.
enum Found {
    File(File),
    /// Names, those of folders with a slash behind.
    Folder(Vec<String>),
}

/// Answers for `path`, which begins with `/logs`; the pods' logs are one of the folders.
pub async fn answer(pods: &Path, path: &str) -> Result<Response<Body>, Refusal> {
    let missing = || Refusal(StatusCode::NOT_FOUND, "404 page not found".to_owned());
    let root = pods.parent().ok_or_else(missing)?.to_owned();
    let rest = path.trim_start_matches('/').strip_prefix("logs").unwrap_or_default();
    let wanted = PathBuf::from(decode(&rest.replace('+', "%2B")).trim_matches('/'));
    let found = tokio::task::spawn_blocking(move || find(&root, &wanted)).await;
    let found = found.map_err(|_| missing())?;
    match found.map_err(|_| missing())? {
        Found::File(file) => Ok(streamed(ReaderStream::new(tokio::fs::File::from_std(file)))),
        // Links in a page are relative to it.
        Found::Folder(_) if !path.ends_with('/') => {
            let name = path.rsplit('/').next().unwrap_or_default();
            let mut moved = whole(StatusCode::MOVED_PERMANENTLY, "text/plain", "");
            let target = HeaderValue::from_str(&format!("{name}/")).map_err(|_| missing())?;
            moved.headers_mut().insert(header::LOCATION, target);
            Ok(moved)
        }
        Found::Folder(names) => Ok(whole(StatusCode::OK, "text/html; charset=utf-8", page(&names))),
    }
}

fn find(root: &Path, wanted: &Path) -> io::Result<Found> {
    let refused = |error: linux::Error| io::Error::from_raw_os_error(error.errno);
    let folder = Folder::open(root).map_err(refused)?;
    // A pipe without a writer is not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(folder.open_beneath(wanted, flags, 0).map_err(refused)?);
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(Found::File(file));
    }
    if !kind.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&file)?.flatten() {
        let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
        let name = name.to_string_lossy().into_owned();
        match (name.as_str(), entry.file_type()) {
            ("." | "..", _) => {}
            (_, rustix::fs::FileType::Directory) => names.push(format!("{name}/")),
            (_, _) => names.push(name),
        }
    }
    names.sort();
    Ok(Found::Folder(names))
}

/// As Go's file server writes it.
fn page(names: &[String]) -> String {
    let lines = names.iter().map(|name| {
        let link: String = name.bytes().map(encoded).collect();
        format!("<a href=\"{link}\">{}</a>\n", escaped(name))
    });
    format!("<pre>\n{}</pre>\n", lines.collect::<String>())
}

fn encoded(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&#34;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn ask(pods: &Path, path: &str) -> (u16, String) {
        let reply = answer(pods, path).await.unwrap_or_else(Refusal::into_response);
        let code = reply.status().as_u16();
        let text = match reply.headers().get(header::LOCATION) {
            Some(target) => target.to_str().unwrap().to_owned(),
            None => {
                let body = reply.into_body().collect().await.unwrap().to_bytes();
                String::from_utf8(body.to_vec()).unwrap()
            }
        };
        (code, text)
    }

    #[tokio::test]
    async fn files_and_folders_are_shown_and_links_out_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let pods = dir.path().join("log/pods");
        std::fs::create_dir_all(pods.join("a+b")).unwrap();
        std::fs::write(pods.join("a+b/<0>.log"), "line\n").unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink("../../secret", pods.join("out")).unwrap();
        let cases = [
            ("/logs", 301, "logs/"),
            ("/logs/", 200, "<pre>\n<a href=\"pods/\">pods/</a>\n</pre>\n"),
            ("/logs/pods", 301, "pods/"),
            (
                "/logs/pods/a+b/",
                200,
                "<pre>\n<a href=\"%3C0%3E.log\">&lt;0&gt;.log</a>\n</pre>\n",
            ),
            ("/logs/pods/a+b/%3C0%3E.log", 200, "line\n"),
            ("/logs/pods/out", 404, "404 page not found"),
            ("/logs/../secret", 404, "404 page not found"),
            ("/logs/none", 404, "404 page not found"),
        ];
        for (path, code, text) in cases {
            assert_eq!(ask(&pods, path).await, (code, text.to_owned()), "{path}");
        }
    }
}
