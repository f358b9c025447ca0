//! Whole requests: any method, path, query and header, of somebody who may do everything. Each is answered, and not with a
//! mistake of the server's own.

use crate::Target;
use crate::api_server::{self, JSON};
use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;

/// As HTTP/1.1 writes it: `GET /path?query`, lines `name: value`, an empty line, a body.
pub const TARGET: Target = Target {
    name: "requests",
    seeds,
    run,
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn seeds() -> Vec<Vec<u8>> {
    let token = api_server::with(|api| {
        for name in ["r1", "r2"] {
            api.make(
                MAPS,
                &serde_json::json!({"metadata": {"name": name, "labels": {"app": "a"}}}),
            );
        }
        let page = api.get(&format!("{MAPS}?limit=1")).expect("a list is answered");
        page["metadata"]["continue"].as_str().expect("there is more").to_owned()
    });
    let mut seeds: Vec<String> = QUERIES.iter().map(|query| format!("GET {MAPS}?{query}\n")).collect();
    seeds.push(format!("GET {MAPS}?limit=1&continue={token}\n"));
    seeds.extend(OTHERS.iter().map(|request| (*request).to_owned()));
    seeds.into_iter().map(String::into_bytes).collect()
}

const QUERIES: [&str; 8] = [
    "labelSelector=app%20in%20(a,b),x!%3Dy,!z,w%20notin%20(v),q%3D%3Dr,n%3E5",
    "fieldSelector=metadata.name%3Da,metadata.namespace!%3Ddefault",
    "resourceVersion=1&resourceVersionMatch=NotOlderThan&limit=2",
    "resourceVersion=0&resourceVersionMatch=Exact",
    "watch=true&timeoutSeconds=1&allowWatchBookmarks=true",
    "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
    "pretty=true&timeout=1m30s",
    "includeObject=Object&limit=0",
];

const OTHERS: [&str; 33] = [
    "GET /api/v1/pods?fieldSelector=status.phase%21%3DRunning%2Cspec.nodeName%3D&limit=500\n",
    "GET /apis/example.com/v1/things?fieldSelector=spec.word%3Dw\naccept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\n",
    "GET /apis\naccept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList\n",
    "GET /api\naccept: application/vnd.kubernetes.protobuf\n",
    "GET /apis/apps/v1\naccept: application/yaml\n",
    "GET /openapi/v3\n",
    "GET /openapi/v3/apis/batch/v1?hash=x\naccept-encoding: gzip\nif-none-match: \"x\"\n",
    "GET /readyz?verbose&exclude=ping\n",
    "GET /livez/ping\n",
    "GET /version\n",
    "GET /metrics\n",
    "POST /api/v1/namespaces/default/configmaps?dryRun=All&fieldManager=m&fieldValidation=Strict\n\n{\"metadata\":{\"generateName\":\"g-\"}}",
    "PUT /api/v1/namespaces/default/configmaps/r1?dryRun=All\n\n{\"metadata\":{\"name\":\"r1\",\"resourceVersion\":\"1\"}}",
    "DELETE /api/v1/namespaces/default/configmaps/r1?dryRun=All&gracePeriodSeconds=0&propagationPolicy=Foreground\n",
    "DELETE /api/v1/namespaces/default/configmaps/r1\n\n{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"preconditions\":{\"uid\":\"x\"},\"dryRun\":[\"All\"]}",
    "DELETE /api/v1/namespaces/default/configmaps?labelSelector=app%3Da&dryRun=All\n",
    "GET /api/v1/namespaces/default/pods/a/log?follow=true&tailLines=1&sinceTime=2026-01-01T00:00:00Z&limitBytes=1\n",
    "POST /api/v1/namespaces/default/pods/a/exec?command=a&command=b&stdin=true&container=c\nconnection: upgrade\nupgrade: websocket\n",
    "GET /api/v1/namespaces/default/services/https:a:http/proxy/x?y=z\n",
    "GET /api/v1/nodes/n:10250/proxy/metrics\n",
    "PATCH /apis/apps/v1/namespaces/default/deployments/a/scale?fieldManager=m\ncontent-type: application/merge-patch+json\n\n{\"spec\":{\"replicas\":2}}",
    "PUT /apis/apps/v1/namespaces/default/deployments/a/scale\n\n{\"metadata\":{\"name\":\"a\"},\"spec\":{\"replicas\":2}}",
    "POST /api/v1/namespaces/default/pods/a/binding\n\n{\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}",
    "POST /api/v1/namespaces/default/pods/a/eviction\n\n{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"a\"},\"deleteOptions\":{\"dryRun\":[\"All\"]}}",
    "PUT /api/v1/namespaces/gone/finalize\n\n{\"metadata\":{\"name\":\"gone\"},\"spec\":{\"finalizers\":[]}}",
    "POST /api/v1/namespaces/default/serviceaccounts/default/token\n\n{\"spec\":{\"audiences\":[\"x\"],\"expirationSeconds\":600,\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"a\"}}}",
    "POST /apis/authorization.k8s.io/v1/subjectaccessreviews\n\n{\"spec\":{\"user\":\"u\",\"groups\":[\"g\"],\"resourceAttributes\":{\"verb\":\"get\",\"resource\":\"pods\",\"fieldSelector\":{\"rawSelector\":\"a=b\"},\"labelSelector\":{\"requirements\":[{\"key\":\"k\",\"operator\":\"In\",\"values\":[\"v\"]}]}}}}",
    "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews\n\n{\"spec\":{\"namespace\":\"default\"}}",
    "POST /apis/authentication.k8s.io/v1/selfsubjectreviews\n\n{}",
    "GET /api/v1/namespaces/default/configmaps\nimpersonate-user: u\nimpersonate-group: g\nimpersonate-extra-a: b\nimpersonate-uid: 1\n",
    "GET /apis/metrics.k8s.io/v1beta1/nodes\n",
    "GET /.well-known/openid-configuration\n",
    "OPTIONS /api/v1/componentstatuses\n",
];

fn run(bytes: &[u8]) -> bool {
    let Some(request) = read(bytes) else { return false };
    // Whatever is written stays; the next server begins soon enough.
    let reply = api_server::with(|api| api.answer(request));
    if reply.code >= 400 && !reply.body.is_empty() && reply.body.starts_with(b"{") {
        let status: Value = serde_json::from_slice(&reply.body).expect("a refusal is JSON");
        assert_eq!(status["code"], reply.code, "{status}");
    }
    reply.code < 400
}

fn read(bytes: &[u8]) -> Option<Request<Bytes>> {
    let cut = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = cut.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, uri) = first.split_once(' ')?;
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    // What HTTP lets through: a path with its query.
    let mut request = Request::builder()
        .method(method)
        .uri(uri.starts_with('/').then_some(uri)?);
    request = request.header("content-type", JSON);
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':')?;
        let value = line[at + 1..].trim_ascii_start();
        if line[..at].eq_ignore_ascii_case(b"content-type") {
            request.headers_mut()?.remove("content-type");
        }
        request = request.header(&line[..at], value);
    }
    request.body(Bytes::copy_from_slice(body)).ok()
}
