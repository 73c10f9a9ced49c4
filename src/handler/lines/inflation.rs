//! Lines that arrive compressed, inflated a piece at a time.
//!
//! It keeps nothing but what it has been told to inflate and nobody has taken. How much that may be is the
//! matter of whoever gives it pieces: a byte becomes a thousand at most.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use super::super::inflate::{Coding, FREE_INFLATION};
use crate::error::{Error, Result};
use crate::record::{Limit, Record};

/// How much room the text gets at once.
const ROOM: usize = 32 << 10;

/// A compressed body on its way.
pub(super) struct Inflation {
    decoder: Decoder,
    /// How many times its size a body may inflate to.
    ratio: usize,
    read: usize,
    inflated: usize,
}

enum Decoder {
    /// Members of gzip one after the other, the way files are put together.
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate(Deflate),
}

/// A body of zlib, whose end must be seen: the decoder of streams takes one that breaks off for whole.
struct Deflate {
    inflater: Decompress,
    text: Vec<u8>,
    has_ended: bool,
}

impl Inflation {
    /// What inflates such a body to so many times its size at most.
    pub(super) fn new(coding: Coding, ratio: usize) -> Self {
        let decoder = match coding {
            Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(Vec::new())),
            Coding::Deflate => Decoder::Deflate(Deflate {
                inflater: Decompress::new(true),
                text: Vec::new(),
                has_ended: false,
            }),
        };
        Self { decoder, ratio, read: 0, inflated: 0 }
    }

    /// Inflates the next piece.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what is not of this coding, 413 if it inflates to more than it may.
    pub(super) fn push(&mut self, piece: &[u8], record: &Record) -> Result<()> {
        match &mut self.decoder {
            Decoder::Gzip(decoder) => {
                // What has been written is in the output once it is flushed.
                let written = decoder.write_all(piece).and_then(|()| decoder.flush());
                written.map_err(|error| broken("gzip", error))?;
            }
            Decoder::Deflate(deflate) => deflate.push(piece)?,
        }
        self.read += piece.len();
        self.inflated += self.text().len();
        if self.inflated > self.read.saturating_mul(self.ratio).max(FREE_INFLATION) {
            record.hit(Limit::BodySize);
            let ratio = self.ratio;
            return Err(Error::payload_too_large(format!(
                "The body inflates to more than {ratio} times its size"
            )));
        }
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it should not have.
    pub(super) fn finish(&mut self) -> Result<()> {
        match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.try_finish().map_err(|error| broken("gzip", error)),
            Decoder::Deflate(deflate) if deflate.has_ended => Ok(()),
            Decoder::Deflate(_) => Err(unreadable("deflate", "it breaks off")),
        }
    }

    /// The text since it was last cleared.
    pub(super) fn text(&self) -> &[u8] {
        match &self.decoder {
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Deflate(deflate) => &deflate.text,
        }
    }

    /// The text has been taken.
    pub(super) fn clear(&mut self) {
        match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.get_mut().clear(),
            Decoder::Deflate(deflate) => deflate.text.clear(),
        }
    }
}

impl Deflate {
    fn push(&mut self, mut piece: &[u8]) -> Result<()> {
        loop {
            match (self.has_ended, piece.is_empty()) {
                (true, true) => return Ok(()),
                (true, false) => return Err(unreadable("deflate", "it has bytes behind its end")),
                (false, _) => {}
            }
            self.text.reserve(ROOM);
            let before = self.inflater.total_in();
            let status = self.inflater.decompress_vec(piece, &mut self.text, FlushDecompress::None);
            self.has_ended = status.map_err(|error| broken("deflate", error))? == Status::StreamEnd;
            let taken = usize::try_from(self.inflater.total_in() - before).unwrap_or(piece.len());
            piece = piece.get(taken..).unwrap_or_default();
            // With room left there is nothing more to come of what it has been given.
            if piece.is_empty() && !self.has_ended && self.text.len() < self.text.capacity() {
                return Ok(());
            }
        }
    }
}

fn broken(coding: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    unreadable(coding, &error.to_string()).with_source(error)
}

fn unreadable(coding: &str, reason: &str) -> Error {
    Error::invalid_argument(format!("The {coding} body cannot be read: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(coding: Coding, text: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::default();
        match coding {
            Coding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    fn inflated(coding: Coding, body: &[u8], piece: usize) -> Result<Vec<u8>> {
        let (mut inflation, mut text) = (Inflation::new(coding, 100), Vec::new());
        for piece in body.chunks(piece) {
            inflation.push(piece, &Record::new())?;
            text.extend_from_slice(inflation.text());
            inflation.clear();
        }
        inflation.finish()?;
        text.extend_from_slice(inflation.text());
        Ok(text)
    }

    #[test]
    fn a_text_is_the_same_in_whatever_pieces_it_comes() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Deflate] {
            for text in [&text[..], b"1\n2", b""] {
                let body = compressed(coding, text);
                for piece in [1, 7, 4096, usize::MAX] {
                    assert_eq!(inflated(coding, &body, piece).unwrap(), text, "{coding:?} {piece}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_whole_body_is_refused() {
        for coding in [Coding::Gzip, Coding::Deflate] {
            let whole = compressed(coding, b"[1.0, 2.0]\n");
            let behind = [&whole[..], b"x"].concat();
            let mut wrong_sum = whole.clone();
            let at = whole.len() - if coding == Coding::Gzip { 6 } else { 1 };
            wrong_sum[at] ^= 1;
            for body in [&whole[..whole.len() - 1], &whole[..5], &behind, &wrong_sum, b"[1.0]\n"] {
                for piece in [1, usize::MAX] {
                    let error = inflated(coding, body, piece).unwrap_err();
                    assert_eq!(error.status(), 400, "{coding:?}: {error}");
                }
            }
            let bomb = compressed(coding, &vec![b' '; 8 << 20]);
            assert_eq!(inflated(coding, &bomb, 1024).unwrap_err().status(), 413);
        }
    }
}
