//! The states of some streams after given events, from the journal: from the newest sealed segments that have states of them, and from
//! the events after those.

use std::collections::BTreeMap;

use apm2_model::{
    event::{Event, stream_id::StreamId},
    state::stream::Stream,
};

use crate::{
    error::ReadError,
    journal::{
        base::Base,
        sealed::reader::SealedSegment,
        segment_file::{SegmentFile, SegmentStart, file_of, start_of},
        segment_walk::{SegmentWalk, segment_containing},
        segments::Segments,
        wanted::Wanted,
    },
    read::{
        events::Events,
        query::{Direction, EventQuery},
        read_ledger::StreamAt,
        reader::Reader,
        sealed_states::decode_state,
        state::apply_or_begin,
    },
};

/// Where the events after a state can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LaterEvents {
    Nowhere,
    /// In the segment with this number, and in those after it.
    From(u64),
    /// In any segment, since one of those after the state cannot be read or has no states.
    Anywhere,
}

/// A stream whose state is wanted.
struct Sought {
    id: StreamId,
    /// The event after which its state is wanted.
    seq: u64,
    /// Its newest state that is known, after event `seq` or earlier.
    found: Option<Stream>,
    /// The event up to which `found` includes all events of the stream.
    through: u64,
    later: LaterEvents,
}

impl Sought {
    fn new(at: StreamAt) -> Self {
        // The segments have no states of the supervisor's own stream.
        let later = if at.id.is_system() { LaterEvents::Anywhere } else { LaterEvents::Nowhere };
        Self { id: at.id, seq: at.seq, found: None, through: 0, later }
    }

    const fn is_missing(&self) -> bool {
        self.found.is_none()
    }

    /// Adds that segment `number`, which is before those that were added, can have events of the stream.
    fn can_begin_in(&mut self, number: u64) {
        if self.later != LaterEvents::Anywhere {
            self.later = LaterEvents::From(number);
        }
    }

    fn apply(&mut self, event: &Event) -> Result<(), ReadError> {
        apply_or_begin(&mut self.found, event)?;
        self.through = event.seq;
        Ok(())
    }
}

impl Reader {
    /// The states of these streams, in this order, from the journal. `None` for a stream that has no events by then.
    pub(crate) fn journal_states(&self, asked: &[StreamAt]) -> Result<Vec<Option<Stream>>, ReadError> {
        let mut sought: Vec<Sought> = asked.iter().copied().map(Sought::new).collect();
        let base = self.base()?;
        let is_after_base = |sought: &&mut Sought| base.as_ref().is_none_or(|base| base.seq() <= sought.seq);
        let (mut after, mut before): (Vec<_>, Vec<_>) = sought.iter_mut().partition(is_after_base);
        self.read_states(&mut after, base.as_deref())?;
        self.read_states(&mut before, None)?;
        Ok(sought.into_iter().map(|sought| sought.found).collect())
    }

    /// The state of one stream, from the journal.
    pub(crate) fn journal_state(&self, at: StreamAt) -> Result<Option<Stream>, ReadError> {
        Ok(self.journal_states(&[at])?.pop().flatten())
    }

    /// Reads the states. `base` is the base of the journal if it has the states of earlier streams.
    fn read_states(&self, sought: &mut [&mut Sought], base: Option<&Base>) -> Result<(), ReadError> {
        let Some(upto) = sought.iter().map(|sought| sought.seq).max() else { return Ok(()) };
        let wanted = Wanted::Query(query_of(sought.iter().map(|sought| sought.id)));
        let segments = Segments::list(self.dir(), &wanted, (1, upto))?;
        let last = match last_number(&segments, upto) {
            Some(last) => last,
            None => {
                sought.iter_mut().for_each(|sought| sought.later = LaterEvents::Anywhere);
                segments.files.last().map_or(0, |file| file.number)
            }
        };
        let archived = base.map_or(0, Base::number);
        self.find_states(sought, &segments, (archived + 1, last))?;
        if let Some(base) = base {
            for sought in sought.iter_mut().filter(|sought| sought.is_missing()) {
                // A record that cannot be decoded has no state here, either.
                let record = base.state(sought.id).ok().flatten();
                if let Some(state) = record.and_then(|record| decode_state(sought.id, &record)) {
                    (sought.found, sought.through) = (Some(*state), base.seq());
                }
            }
            self.find_states(sought, &segments, (1, archived.min(last)))?;
        }
        self.apply_later(sought, &segments)
    }

    /// Finds the newest states in the sealed segments from number `first` to `last`, of the streams without a state.
    fn find_states(
        &self,
        sought: &mut [&mut Sought],
        segments: &Segments,
        (first, mut last): (u64, u64),
    ) -> Result<(), ReadError> {
        let mut next = None;
        while first <= last {
            let missing = query_of(sought.iter().filter(|sought| sought.is_missing()).map(|sought| sought.id));
            if missing.streams.is_empty() {
                break;
            }
            let walk = SegmentWalk::new(segments, (first, last), Direction::Backwards, Wanted::Query(missing));
            // The segments before one with a state are searched for the other streams only.
            let mut found_in = None;
            for number in walk {
                self.check_cancelled()?;
                if find_in_segment(sought, segments, number, &mut next) {
                    found_in = Some(number);
                    break;
                }
            }
            let Some(number) = found_in else { break };
            last = number - 1;
        }
        Ok(())
    }

    /// Applies the events after the states, those in the same segments together.
    fn apply_later(&self, sought: &mut [&mut Sought], segments: &Segments) -> Result<(), ReadError> {
        let mut groups: BTreeMap<u64, Vec<&mut Sought>> = BTreeMap::new();
        for sought in sought.iter_mut() {
            let start = match sought.later {
                LaterEvents::Nowhere => continue,
                LaterEvents::From(number) => start_of(&segments.files, number),
                LaterEvents::Anywhere => None,
            };
            match start {
                Some(start) => groups.entry(start.first_seq).or_default().push(sought),
                None => self.apply_from(sought.through + 1, &mut [sought], segments)?,
            }
        }
        for (first, mut group) in groups {
            self.apply_from(first, &mut group, segments)?;
        }
        Ok(())
    }

    /// Applies the events from event `first` on.
    fn apply_from(&self, first: u64, sought: &mut [&mut Sought], segments: &Segments) -> Result<(), ReadError> {
        let Some(last) = sought.iter().map(|sought| sought.seq).max() else { return Ok(()) };
        let query = query_of(sought.iter().map(|sought| sought.id));
        let events = Events::of_segments(self.access(), segments.clone(), query, (first, last));
        for event in self.until_cancelled(events) {
            let event = event?;
            let lacks = |sought: &&mut &mut Sought| {
                sought.id == event.stream && sought.through < event.seq && event.seq <= sought.seq
            };
            sought.iter_mut().filter(lacks).try_for_each(|sought| sought.apply(&event))?;
        }
        Ok(())
    }
}

/// The query for all events of these streams.
fn query_of(streams: impl Iterator<Item = StreamId>) -> EventQuery {
    let mut streams: Vec<StreamId> = streams.collect();
    streams.sort_unstable();
    streams.dedup();
    EventQuery { streams, ..EventQuery::default() }
}

/// The number of the last segment that can have events up to `upto`: that before the first one that begins later. Segments without
/// a header that can be read are passed over. `None` when the segment that begins later does not follow the one before it.
fn last_number(segments: &Segments, upto: u64) -> Option<u64> {
    let files = &segments.files;
    let containing = segment_containing(segments, upto).ok().flatten().map_or(0, |file| file.number);
    let next = files.get(files.partition_point(|file| file.number <= containing)..).unwrap_or_default();
    let later = |file: &SegmentFile| {
        let start = file.start().ok()?.ok()?;
        (start.number == file.number && start.first_seq > upto).then_some(start)
    };
    let Some(later) = next.iter().find_map(later) else { return Some(files.last().map_or(0, |file| file.number)) };
    let last = later.number - 1;
    let follows = match file_of(files, last) {
        Some(file) if file.is_sealed => file.open().is_ok_and(|before| later.follows(&before)),
        Some(file) => file.start().is_ok_and(|start| start.is_ok_and(|start| start.ledger == later.ledger)),
        // A segment that is missing is found when its events are looked for.
        None => true,
    };
    follows.then_some(last)
}

/// Whether `segment`, of file `number`, has that number, and the segment after it, which has the start `after`, follows it.
fn is_in_place(segments: &Segments, number: u64, segment: &SealedSegment, after: Option<SegmentStart>) -> bool {
    let is_left_out = |number: u64| segments.left_out.iter().any(|(first, last)| (*first..=*last).contains(&number));
    let is_last = segments.files.last().is_some_and(|last| last.number == number);
    segment.header().number == number
        && match after {
            Some(after) => after.follows(segment),
            None => is_last || is_left_out(number.saturating_add(1)),
        }
}

/// Looks in segment `number` for the states of the streams without one. Returns whether one was found. `next` is the start of the
/// segment that was looked at before.
fn find_in_segment(
    sought: &mut [&mut Sought],
    segments: &Segments,
    number: u64,
    next: &mut Option<SegmentStart>,
) -> bool {
    let mut missing: Vec<&mut Sought> =
        sought.iter_mut().filter(|sought| sought.is_missing()).map(|sought| &mut **sought).collect();
    let file = file_of(&segments.files, number);
    if file.is_some_and(|file| !file.is_sealed) {
        missing.iter_mut().for_each(|sought| sought.can_begin_in(number));
        return false;
    }
    let after_number = number.saturating_add(1);
    let after =
        next.take().filter(|next| next.number == after_number).or_else(|| start_of(&segments.files, after_number));
    // A damaged file or index, or a file of another ledger, has no state: the state is replayed from the events.
    let opened = file.and_then(|file| file.open().ok());
    let Some(segment) = opened.filter(|segment| is_in_place(segments, number, segment, after)) else {
        missing.iter_mut().for_each(|sought| sought.later = LaterEvents::Anywhere);
        return false;
    };
    *next = Some(SegmentStart::from(&segment));
    let has_states = segment.has_states().unwrap_or(false);
    let (first_seq, last_seq) = (segment.header().first_seq, segment.header().last_seq());
    let mut is_found = false;
    for sought in missing.into_iter().filter(|sought| first_seq <= sought.seq) {
        if last_seq > sought.seq {
            sought.can_begin_in(number);
            continue;
        }
        match segment.state(sought.id) {
            Ok(None) if has_states => {}
            Ok(Some(record)) => match decode_state(sought.id, &record) {
                Some(state) => {
                    (sought.through, sought.found) = (state.last_seq, Some(*state));
                    is_found = true;
                }
                None => sought.later = LaterEvents::Anywhere,
            },
            Ok(None) | Err(_) => sought.later = LaterEvents::Anywhere,
        }
    }
    is_found
}
