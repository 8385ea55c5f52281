//! Recorded events for subscribers in this process. Each event is sent after it is durable. The supervisor does not
//! wait for subscribers.

use std::sync::Arc;

use apm2_model::{event::Event, spec::id::ProcessId};
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

/// Capacity of a subscription. If more events wait, the oldest are dropped and reported as [`MissedEvents`].
pub const EVENTS_WAITING_MAX: usize = 1024;

/// Broadcasts the events of all instances of a supervisor.
#[derive(Clone)]
pub(crate) struct EventFeed(Sender<Arc<Event>>);

impl Default for EventFeed {
    fn default() -> Self {
        Self(channel(EVENTS_WAITING_MAX).0)
    }
}

impl EventFeed {
    /// Sends events to all subscribers.
    pub(crate) fn publish(&self, events: Vec<Event>) {
        if self.0.receiver_count() == 0 {
            return;
        }
        for event in events {
            // Sending fails when the last subscriber has just been dropped. This error is ignored.
            let _ = self.0.send(Arc::new(event));
        }
    }

    /// Subscribes to the events from now on, either of one process or of all processes.
    pub(crate) fn subscribe(&self, process: Option<ProcessId>) -> EventSubscription {
        EventSubscription { events: self.0.subscribe(), process }
    }
}

/// A subscription to recorded events. Events of one process arrive in the order of their `seq`; events of different processes
/// may arrive in another order.
pub struct EventSubscription {
    events: Receiver<Arc<Event>>,
    process: Option<ProcessId>,
}

/// The number of events that were dropped because a subscriber was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} events were not taken in time and are lost to this subscription; they are on record")]
pub struct MissedEvents(pub u64);

impl EventSubscription {
    /// Waits for the next event. Returns `None` when the supervisor and all its tasks are gone.
    ///
    /// # Errors
    /// This subscriber was too slow, and events were dropped (possibly events of other processes). The subscription
    /// continues after the dropped events.
    pub async fn next(&mut self) -> Result<Option<Arc<Event>>, MissedEvents> {
        loop {
            match self.events.recv().await {
                Ok(event) if self.process.is_none_or(|process| process == event.stream.process_id) => {
                    return Ok(Some(event));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => return Err(MissedEvents(missed)),
                Err(RecvError::Closed) => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use apm2_model::{
        event::{actor::Actor, kind::EventKind, stream_id::StreamId, timestamp::Timestamp},
        spec::id::ProcessId,
    };
    use uuid::Uuid;

    use super::*;

    fn event(process: u128, seq: u64) -> Event {
        let stream = StreamId { process_id: ProcessId::from_bytes(process.to_be_bytes()), instance: 0 };
        let stamp = Timestamp { wall_ns: 0, boot_ns: 0, boot_id: Uuid::nil() };
        let (actor, kind) = (Actor::System, EventKind::BudgetReset);
        Event { seq, version: seq, stream, run: 0, actor, reason: None, cause: None, stamp, kind }
    }

    async fn seqs(mut events: EventSubscription) -> Vec<Result<u64, MissedEvents>> {
        let mut seen = Vec::new();
        loop {
            match events.next().await {
                Ok(Some(event)) => seen.push(Ok(event.seq)),
                Ok(None) => return seen,
                Err(missed) => seen.push(Err(missed)),
            }
        }
    }

    #[tokio::test]
    async fn a_subscription_has_its_process_in_order_and_ends_with_the_feed() {
        let feed = EventFeed::default();
        feed.publish(vec![event(1, 1)]);
        let (all, one) = (feed.subscribe(None), feed.subscribe(Some(event(1, 0).stream.process_id)));
        feed.publish(vec![event(1, 2), event(2, 3)]);
        feed.publish(vec![event(1, 4)]);
        drop(feed);
        assert_eq!(seqs(all).await, [Ok(2), Ok(3), Ok(4)]);
        assert_eq!(seqs(one).await, [Ok(2), Ok(4)]);
    }

    #[tokio::test]
    async fn a_slow_subscriber_learns_how_many_events_it_has_missed() {
        let feed = EventFeed::default();
        let slow = feed.subscribe(None);
        let count = EVENTS_WAITING_MAX as u64 + 5;
        feed.publish((1..=count).map(|seq| event(1, seq)).collect());
        drop(feed);
        let seen = seqs(slow).await;
        assert_eq!(seen.first(), Some(&Err(MissedEvents(5))));
        assert_eq!(seen.len(), EVENTS_WAITING_MAX + 1);
        assert_eq!(seen.last(), Some(&Ok(count)));
    }
}
