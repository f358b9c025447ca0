//! Tokens that somebody shows. Nobody is let in but by one that was given out.

use crate::Target;
use crate::api_server::{self, JSON};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};
use std::cell::RefCell;

/// The token; one that begins with a brace is a header, and what follows the next line's end are claims, both in JSON.
pub const TARGET: Target = Target {
    name: "tokens",
    seeds,
    run,
};

const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

thread_local! {
    static GIVEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn seeds() -> Vec<Vec<u8>> {
    let issued = api_server::with(|api| {
        let reply = api.send(Method::POST, ACCOUNT, JSON, JSON, "{\"spec\":{}}".into());
        reply.expect("this is a request")
    });
    let issued: Value = serde_json::from_slice(&issued.body).expect("an answer is JSON");
    let token = issued["status"]["token"].as_str().expect("a token is given").to_owned();
    let parts: Vec<String> = token.split('.').map(plain).collect();
    GIVEN.with_borrow_mut(|given| given.push(token.clone()));
    vec![
        token.into_bytes(),
        format!("{}\n{}", parts[0], parts[1]).into_bytes(),
        b"abcdef.0123456789abcdef".to_vec(),
    ]
}

fn plain(part: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn run(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let token = match text.split_once('\n') {
        Some((header, claims)) if header.starts_with('{') => {
            let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
            // A signature of the right length, so that it is looked at.
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([1; 64]))
        }
        _ => text.into_owned(),
    };
    let review = json!({"spec": {"token": token}}).to_string();
    let reply = api_server::with(|api| api.send(Method::POST, REVIEWS, JSON, JSON, review.into()));
    let review: Value = serde_json::from_slice(&reply.expect("this is a request").body).expect("an answer is JSON");
    let is_known = review["status"]["authenticated"] == true;
    let is_given = GIVEN.with_borrow(|given| given.contains(&token));
    assert!(!is_known || is_given, "somebody is let in by {token}");
    is_known
}
