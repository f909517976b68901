//! Every route of the documents that the services themselves give.

use std::net::SocketAddr;

use serde_json::Value;
use tidings_tests::http;
use tidings_tests::tokens::{LEEWAY_S, SECRET, claims, hs256, now, token, with};

use crate::{bearer, secured};

/// These need no scope to be asked; what they give depends on it, and is asked for elsewhere.
const OF_SEVERAL: [&str; 2] = ["/v1/projects", "/v1/ws"];

/// (method, path, its template) of every operation.
async fn operations(service: SocketAddr) -> Vec<(String, String, String)> {
    let document = http::get(service, "/openapi.json").await.expect("it is there for everybody").json();
    assert_eq!(document["security"], serde_json::json!([{"bearer": []}]));
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(template, methods)| {
        let path = template.replace("{project}", "demo");
        let path = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>();
        let path = path.join("/");
        let methods: Vec<String> = methods.as_object().expect("methods").keys().cloned().collect();
        methods.into_iter().map(move |method| (method, path.clone(), template.clone()))
    });
    operations.collect()
}

async fn ask(service: SocketAddr, method: &str, path: &str, token: Option<&str>) -> http::Answer {
    let method = method.to_uppercase().parse().expect("a method");
    let mut request = http::client().request(method, format!("http://{service}{path}"));
    if let Some(token) = token {
        request = request.header("authorization", bearer(token));
    }
    let request = request.header("content-type", "application/json").body("{}");
    http::Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_a_good_credential_and_the_right_scope() {
    let cluster = secured().start().await;
    let everything = "read publish work command approve admin";
    let all = || claims("alice", "demo", everything);
    let expired = hs256(SECRET.as_bytes(), &with(all(), "exp", now() - LEEWAY_S - 1));
    let foreign = hs256(b"another secret of at least 32 bytes", &all());
    let other_project = token("alice", "demo2", everything);
    // No scope holds another; this one is of no use on any route but that which asks runners.
    let (no_scope, reader) = (token("alice", "demo", "command"), token("alice", "demo", "read"));
    let good = token("alice", "demo", everything);
    let mut walked = 0;
    for service in [cluster.gateways[0].address(), cluster.ingests[0].address()] {
        for (method, path, template) in operations(service).await {
            let name = format!("{method} {path}");
            for (credential, why) in
                [(None, "Bearer realm=\"tidings\""), (Some(&foreign), "bad_signature"), (Some(&expired), "expired")]
            {
                let answer = ask(service, &method, &path, credential.map(String::as_str)).await;
                assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "{name}: {why}");
                assert!(answer.header("www-authenticate").contains(why), "{name}: {:?}", answer.headers);
            }
            let of_several = OF_SEVERAL.contains(&template.as_str());
            let asks = method == "post" && template.ends_with("/commands");
            for token in [&other_project, if asks { &reader } else { &no_scope }] {
                let answer = ask(service, &method, &path, Some(token)).await;
                if of_several {
                    assert!(![401, 403].contains(&answer.status), "{name}: {}", answer.text());
                } else {
                    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{name}");
                    assert!(answer.header("www-authenticate").contains("insufficient_scope"), "{name}");
                }
            }
            // So that it is the credential that the others lack.
            let answer = ask(service, &method, &path, Some(&good)).await;
            assert!(![401, 403].contains(&answer.status), "{name}: {}", answer.text());
            walked += 1;
        }
    }
    assert!(walked >= 9, "{walked} operations are not all of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_nothing_is_there_for_everybody() {
    let cluster = secured().start().await;
    let gateway = &cluster.gateways[0];
    for path in ["/", "/app.js", "/openapi.json"] {
        assert_eq!(http::get(gateway.address(), path).await.expect("an answer").status, 200, "{path}");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(http::get(gateway.admin(), path).await.expect("an answer").status, 200, "{path}");
    }
    assert_eq!(http::get(gateway.address(), "/v1/projects/demo/nothing").await.expect("an answer").status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_projects_has_those_that_may_be_read() {
    let cluster = secured().start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    for project in ["a-1", "a-2", "b"] {
        crate::publish(ingest, project, "e").await;
    }
    let listed = async |token: &str, query: &str| {
        let answer = crate::get_as(gateway, token, &format!("/v1/projects{query}")).await.json();
        let names = answer["projects"].as_array().expect("a list").iter().map(|row| row["project"].clone());
        (names.collect::<Vec<Value>>(), answer["next"].clone())
    };
    assert_eq!(listed(&token("u", "a-*", "read"), "").await, (vec!["a-1".into(), "a-2".into()], Value::Null));
    assert_eq!(listed(&token("u", "*", "read"), "?limit=2").await, (vec!["a-1".into(), "a-2".into()], "a-2".into()));
    assert_eq!(listed(&token("u", "b", "read"), "?limit=1").await, (vec!["b".into()], Value::Null));
    assert_eq!(listed(&token("u", "*", "publish"), "").await, (Vec::new(), Value::Null));
}
