//! A body that arrives in pieces of any size never makes the decoder panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tfbridge::codec::Limits;
use tfbridge::codec::stream::Stream;
use tfbridge_fuzz::reference;

fuzz_target!(|data: &[u8]| {
    let Some((signatures, data)) = reference::signatures(data) else { return };
    let Some((steps, body)) = data.split_at_checked(4) else { return };
    let mut stream = Stream::new(Limits::default());
    let mut end = 0;
    for step in steps.iter().cycle() {
        end += usize::from(*step) + 1;
        if end > body.len() {
            break;
        }
        stream.feed(&body[..end], body.len(), &signatures);
    }
});
