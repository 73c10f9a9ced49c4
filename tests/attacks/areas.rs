//! The table, area by area.

mod connections;
mod formats;
mod framing;
mod gzip;
mod inference;
mod json;
mod lines;
mod pictures;
mod replies;
mod requests;
mod slow;
mod streams;
pub mod tls;

use crate::attack::Attack;

/// The attacks on a bridge that speaks clear text.
pub fn plain() -> Vec<Attack> {
    [
        requests::attacks(),
        framing::attacks(),
        streams::attacks(),
        json::attacks(),
        pictures::attacks(),
        gzip::attacks(),
        formats::attacks(),
        inference::attacks(),
        replies::attacks(),
        connections::attacks(),
        slow::attacks(),
        lines::attacks(),
    ]
    .concat()
}
