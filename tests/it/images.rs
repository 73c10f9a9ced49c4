//! Pictures as bodies: for an input of numbers they are decoded, for one of strings they are its value.

use base64_simd::STANDARD as BASE64;
use serde_json::json;
use tfbridge::mock::Models;

use crate::bridge::Bridge;
use crate::client::{Client, Response};

const ECHO: &str = "/v1/models/echo:predict";

/// TensorFlow's `encode_png` of 16 times 8 pixels: (200, 100, 50) on the left, (20, 40, 220) on the right.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAICAIAAAB/FOjAAAAAHUlEQVQYlWM8kWLEgA34HFmFVZwJqygeMKqBGAAAm1wDKKJ9VmMAAAAASUVORK5CYII=";

/// Its `encode_jpeg` of the same, which makes one of the samples 41 in place of 40.
const JPEG: &str = "/9j/4AAQSkZJRgABAQEBLAEsAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAIABADAREAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAABQn/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFgEBAQEAAAAAAAAAAAAAAAAACAkK/8QAFBEBAAAAAAAAAAAAAAAAAAAAAP/aAAwDAQACEQMRAD8APFc2E62hxMN//9k=";

async fn post(client: &mut Client, query: &str, content_type: &str, base64: &str) -> Response {
    let body = BASE64.decode_to_vec(base64).unwrap();
    client.request("POST", &format!("{ECHO}?{query}"), &[("Content-Type", content_type)], &body).await
}

#[tokio::test]
async fn pictures_become_the_numbers_of_an_input() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    let size = |response: &Response| {
        let picture = &response.json()["predictions"][0];
        (picture.as_array().unwrap().len(), picture[0].as_array().unwrap().len())
    };
    for (content_type, file, green) in
        [("image/png", PNG, 40.0), ("image/jpeg", JPEG, 41.0), ("application/octet-stream", PNG, 40.0)]
    {
        let response = post(&mut client, "", content_type, file).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(size(&response), (8, 16));
        let picture = response.json();
        assert_eq!(picture["predictions"][0][0][0], json!([200.0, 100.0, 50.0]), "{content_type}");
        assert_eq!(picture["predictions"][0][7][15], json!([20.0, green, 220.0]), "{content_type}");
        let response = post(&mut client, "resize=2x3&signature_name=uint8", content_type, file).await;
        assert_eq!(size(&response), (2, 3), "{}", response.text());
        assert_eq!(response.json()["predictions"][0][1][0], json!([200, 100, 50]));
    }
    // What `curl --data-binary` says where it is told nothing else, and what is said without a thought.
    for content_type in ["application/x-www-form-urlencoded", "", "application/json"] {
        let response = post(&mut client, "resize=1x1&signature_name=uint8", content_type, JPEG).await;
        assert_eq!(size(&response), (1, 1), "{content_type}: {}", response.text());
        let response = post(&mut client, "signature_name=bytes", content_type, JPEG).await;
        assert_eq!(response.json(), json!({"predictions": [{"b64": JPEG}]}), "{content_type}");
    }
    let response = post(&mut client, "resize=1x1&scale=1/2&offset=-1", "image/png", PNG).await;
    assert_eq!(response.json(), json!({"predictions": [[[[54.0, 34.0, 66.5]]]]}));
}

#[tokio::test]
async fn an_input_of_strings_gets_the_file() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    for content_type in ["image/png", "application/octet-stream"] {
        let response = post(&mut client, "signature_name=bytes", content_type, PNG).await;
        assert_eq!(response.json(), json!({"predictions": [{"b64": PNG}]}));
    }
}

#[tokio::test]
async fn what_is_no_picture_for_an_input_is_refused() {
    let bridge = Bridge::start_with(Models::builtin(), |config| config.api.limits.elements = 1000).await;
    let mut client = bridge.connect().await;
    // 65,500 times as many pixels in the head of a small file.
    let mut bomb = BASE64.decode_to_vec(PNG).unwrap();
    bomb[16..24].copy_from_slice(&[0, 0, 0x10, 0, 0, 0, 0x08, 0]);
    let bomb = BASE64.encode_to_string(bomb);
    let broken = BASE64.encode_to_string(&BASE64.decode_to_vec(PNG).unwrap()[..50]);
    for (query, content_type, file, phrase) in [
        ("", "image/png", bomb.as_str(), "A picture of more than 1000 elements"),
        ("resize=20x20", "image/png", PNG, "A tensor of more than 1000 elements"),
        ("", "image/png", broken.as_str(), "The picture cannot be decoded: "),
        ("", "image/webp", "UklGRg==", "The body is no picture that can be read; JPEG and PNG can"),
        (
            "",
            "application/octet-stream",
            "UklGRg==",
            "is of type float, but the bytes of a body are a string",
        ),
        ("signature_name=int64", "image/png", PNG, "is of type int64, which no picture becomes"),
        ("signature_name=mixed", "image/png", PNG, "?input=NAME"),
        ("signature_name=uint8&scale=2", "image/png", PNG, "takes pixels as they are"),
        ("resize=0x5", "image/png", PNG, "The parameter resize must be"),
        ("resize=5", "image/png", PNG, "The parameter resize must be"),
        ("scale=1/0", "image/png", PNG, "The parameter scale must be"),
        ("offset=NaN", "image/png", PNG, "The parameter offset must be"),
    ] {
        let response = post(&mut client, query, content_type, file).await;
        assert_eq!(response.status, 400, "{query}: {}", response.text());
        assert!(response.error().contains(phrase), "{query}: {}", response.text());
    }
}
