//! Any path is a route or an error, and a route written as a path again is the same route.

#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tfbridge::route::{self, Route, Target, Version};

const METHODS: [Method; 9] = [
    Method::GET,
    Method::POST,
    Method::HEAD,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::CONNECT,
    Method::TRACE,
];

fuzz_target!(|input: (u8, &str)| {
    let (method, path) = input;
    let method = &METHODS[usize::from(method) % METHODS.len()];
    let Ok(route) = route::parse(method, path, path) else { return };
    let path = match &route {
        Route::Predict(target) => to_path(target) + ":predict",
        Route::Classify(target) => to_path(target) + ":classify",
        Route::Regress(target) => to_path(target) + ":regress",
        Route::MultiInference(target) => to_path(target) + ":multi_inference",
        Route::Status(target) => to_path(target),
        Route::Metadata(target) => to_path(target) + "/metadata",
        _ => return,
    };
    assert_eq!(route::parse(method, &path, &path).expect("a path that we wrote"), route, "{path}");
});

fn to_path(target: &Target) -> String {
    let name = utf8_percent_encode(&target.name, NON_ALPHANUMERIC);
    match &target.version {
        Version::Latest => format!("/v1/models/{name}"),
        Version::Number(number) => format!("/v1/models/{name}/versions/{number}"),
        Version::Label(label) => {
            format!("/v1/models/{name}/labels/{}", utf8_percent_encode(label, NON_ALPHANUMERIC))
        }
    }
}
