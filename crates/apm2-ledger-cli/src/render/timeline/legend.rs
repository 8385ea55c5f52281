//! The legend of a timeline: what its characters mean.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use apm2_lanes::lane_state::LaneState;
use unicode_width::UnicodeWidthStr as _;

use crate::render::{
    table::Layout,
    timeline::chart::NOT_KNOWN,
    timeline::glyph::{CRASHES_SHOWN_MAX, Glyphs, Shown},
};

/// The blanks between two entries.
const GAP: &str = "   ";

/// What the end of a line of a process means.
const RESTARTS: &str = "+N restarts by the policy";

/// Writes the meaning of the characters in use, in lines of `width` columns at most.
pub(crate) fn write(
    out: &mut dyn Write,
    used: &BTreeSet<Shown>,
    glyphs: Glyphs,
    (layout, width): (Layout, usize),
) -> io::Result<()> {
    let mut entries: Vec<(String, String)> = Vec::new();
    let (mut has_few, mut has_many) = (false, false);
    for shown in used.iter().copied().filter(|shown| *shown != Shown::State(LaneState::Absent)) {
        let character = match shown {
            Shown::Crashes(2..=CRASHES_SHOWN_MAX) if has_few => continue,
            Shown::Crashes(2..=CRASHES_SHOWN_MAX) => "2-9".to_owned(),
            Shown::Crashes(_) if has_many => continue,
            _ => glyphs.character(shown).to_string(),
        };
        has_few |= matches!(shown, Shown::Crashes(2..=CRASHES_SHOWN_MAX));
        has_many |= matches!(shown, Shown::Crashes(_)) && character == "+";
        let state = if let Shown::State(state) = shown { state } else { LaneState::Absent };
        let text = format!("{character} {}", shown.words());
        let painted = if layout.color {
            format!("{} {}", shown.style(state).paint(&character), shown.words())
        } else {
            text.clone()
        };
        entries.push((text, painted));
    }
    if used.contains(&Shown::NoDaemon) {
        let text = format!("{NOT_KNOWN} not known");
        entries.push((text.clone(), text));
    }
    entries.push((RESTARTS.to_owned(), RESTARTS.to_owned()));
    let (mut line, mut used_width) = (String::new(), 0);
    for (text, painted) in entries {
        let needed = text.width() + if used_width > 0 { GAP.len() } else { 0 };
        if used_width > 0 && used_width + needed > width {
            writeln!(out, "{line}")?;
            (line, used_width) = (String::new(), 0);
        }
        if used_width > 0 {
            line.push_str(GAP);
            used_width += GAP.len();
        }
        line.push_str(&painted);
        used_width += text.width();
    }
    writeln!(out, "{line}")
}
