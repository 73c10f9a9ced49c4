//! A body that arrives in pieces of any size is read like one that is there at once.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tfbridge_fuzz::codec::{self, TIGHT, WIDE};
use tfbridge_fuzz::reference;

fuzz_target!(|data: &[u8]| {
    let Some((signatures, data)) = reference::signatures(data) else { return };
    let Some((steps, body)) = data.split_at_checked(4) else { return };
    let body = Bytes::copy_from_slice(body);
    for limits in [WIDE, TIGHT] {
        let streamed = codec::decode_in_steps(&body, steps, &signatures, &limits);
        let whole = codec::decode(&body, &signatures, &limits);
        assert_eq!(streamed.map_err(|error| error.to_string()), whole.map_err(|error| error.to_string()));
    }
});
