//! Objects that are made, in JSON, YAML and protobuf. What is accepted can be read in every form, or a list of its kind would
//! break for everybody; and written back as it was read, which changes nothing.

use crate::api_server::{self, Api, JSON, PROTOBUF, Place, escaped};
use crate::beginnings::OBJECTS;
use crate::{Target, choice, chosen};
use api::Verb;
use bytes::Bytes;
use http::Method;
use serde_json::Value;

/// Which object's place, which form, and the body.
pub const TARGET: Target = Target {
    name: "objects",
    seeds,
    run,
};

const FORMS: [&str; 3] = [JSON, "application/yaml", PROTOBUF];

fn seeds() -> Vec<Vec<u8>> {
    let forms = |(nth, (_, object)): (usize, &(Place, Value))| {
        let yaml = serde_saphyr::to_string(object).expect("an object is YAML").into_bytes();
        let texts = [
            Some(object.to_string().into_bytes()),
            Some(yaml),
            server::protobuf::encode(object),
        ];
        let forms = texts.into_iter().enumerate();
        let seeds = forms.filter_map(|(form, text)| Some(chosen(&[nth, form], &text?)));
        seeds.collect::<Vec<_>>()
    };
    OBJECTS.iter().enumerate().flat_map(forms).collect()
}

fn run(bytes: &[u8]) -> bool {
    let Some((nth, bytes)) = choice(bytes, OBJECTS.len()) else {
        return false;
    };
    let Some((form, bytes)) = choice(bytes, FORMS.len()) else {
        return false;
    };
    let place = &OBJECTS[nth].0;
    api_server::with(|api| {
        let body = Bytes::copy_from_slice(bytes);
        let made = api.send(Method::POST, &place.collection, FORMS[form], JSON, body);
        let made = made.expect("this is a request");
        if made.code != 201 {
            return false;
        }
        api.is_readable(place);
        let made: Value = serde_json::from_slice(&made.body).expect("an answer is JSON");
        let name = made["metadata"]["name"].as_str().expect("what was made has a name");
        can_be_written_back(api, place, name);
        if !["default", "kubernetes", "things.example.com"].contains(&name) {
            api.forget(place, name);
        }
        true
    })
}

fn can_be_written_back(api: &mut Api, place: &Place, name: &str) {
    if place.rules.is_some_and(|rules| !rules.verbs.contains(&Verb::Update)) {
        return;
    }
    let path = format!("{}/{}", place.collection, escaped(name.as_bytes()));
    let found = api.get(&path).expect("what was made is there");
    let body = Bytes::from(found.to_string());
    let reply = api
        .send(Method::PUT, &path, JSON, JSON, body)
        .expect("this is a request");
    assert_eq!(reply.code, 200, "{found} cannot be written back: {:?}", reply.body);
    let again: Value = serde_json::from_slice(&reply.body).expect("an answer is JSON");
    assert_eq!(again, found, "written back, it is another");
}
