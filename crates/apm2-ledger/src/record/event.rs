//! Serialization format of an event, version 1.

use apm2_model::{
    event::{Event, actor::Actor, stream_id::StreamId, timestamp::Timestamp},
    spec::id::ProcessId,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::record::{RecordError, id::Id, kind::KindV1, stamp::StampV1};

#[derive(Serialize, Deserialize)]
pub(crate) struct EventV1 {
    process_id: Id,
    instance: u32,
    version: u64,
    run: u64,
    cause: Option<u64>,
    stamp: StampV1,
    actor: ActorV1,
    reason: Option<String>,
    kind: KindV1,
}

#[derive(Serialize, Deserialize)]
enum ActorV1 {
    Operator { uid: u32, user: Option<String>, terminal: Option<String> },
    Policy,
    Health,
    Recovery,
    System,
}

impl From<&Event> for EventV1 {
    fn from(event: &Event) -> Self {
        Self {
            process_id: Id(*event.stream.process_id.as_bytes()),
            instance: event.stream.instance,
            version: event.version,
            run: event.run,
            cause: event.cause,
            stamp: event.stamp.into(),
            actor: (&event.actor).into(),
            reason: event.reason.clone(),
            kind: (&event.kind).into(),
        }
    }
}

impl EventV1 {
    pub(crate) fn into_event(self, seq: u64) -> Result<Event, RecordError> {
        Ok(Event {
            seq,
            version: self.version,
            stream: StreamId { process_id: ProcessId::from_bytes(self.process_id.0), instance: self.instance },
            run: self.run,
            actor: self.actor.into(),
            reason: self.reason,
            cause: self.cause,
            stamp: self.stamp.into(),
            kind: self.kind.into_kind()?,
        })
    }
}

impl From<StampV1> for Timestamp {
    fn from(stamp: StampV1) -> Self {
        Self { wall_ns: stamp.wall_ns, boot_ns: stamp.boot_ns, boot_id: Uuid::from_bytes(stamp.boot_id.0) }
    }
}

impl From<&Actor> for ActorV1 {
    fn from(actor: &Actor) -> Self {
        match actor {
            Actor::Operator { uid, user, terminal } => {
                Self::Operator { uid: *uid, user: user.clone(), terminal: terminal.clone() }
            }
            Actor::Policy => Self::Policy,
            Actor::Health => Self::Health,
            Actor::Recovery => Self::Recovery,
            Actor::System => Self::System,
        }
    }
}

impl From<ActorV1> for Actor {
    fn from(actor: ActorV1) -> Self {
        match actor {
            ActorV1::Operator { uid, user, terminal } => Self::Operator { uid, user, terminal },
            ActorV1::Policy => Self::Policy,
            ActorV1::Health => Self::Health,
            ActorV1::Recovery => Self::Recovery,
            ActorV1::System => Self::System,
        }
    }
}
