//! The page that shows what the processes of a ledger did over a period.
//!
//! [`Document`](document::Document) is the data, as JSON with a version. [`html`] makes one HTML text of it that needs nothing else: the style and the script
//! are in `assets/` and are part of the text. The same page without data is the live page, which fetches its document.
//!
//! What is shown is untrusted: names, output, reasons. The data is JSON in an element that no browser executes, with the characters
//! escaped that could end the element. The script only makes elements and text nodes, and the policy of [`csp`] lets the browser
//! execute that script alone, by its hash.
//!
//! Data and pure functions: nothing here reads a file or a clock.

pub mod assets;
pub mod csp;
pub mod document;
pub mod html;
