//! A set of classes of actors, as one byte beside the kinds in the table of blocks.

use apm2_model::event::actor::{Actor, ActorFilter};

/// The classes of the actors of events: operator, policy, health, recovery, system. One bit for each, from the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ActorSet(pub u8);

impl ActorSet {
    /// Every class; also where the actors of events are not known.
    pub const ALL: Self = Self(u8::MAX);

    /// The classes that are in one of the two.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether an actor of these classes can be one that the filter accepts.
    #[must_use]
    pub const fn can_contain(self, filter: &ActorFilter) -> bool {
        let class = match filter {
            ActorFilter::Operator | ActorFilter::User(_) | ActorFilter::Uid(_) => 0,
            ActorFilter::Policy => 1,
            ActorFilter::Health => 2,
            ActorFilter::Recovery => 3,
            ActorFilter::System => 4,
        };
        self.0 >> class & 1 == 1
    }
}

impl From<&Actor> for ActorSet {
    fn from(actor: &Actor) -> Self {
        Self(match actor {
            Actor::Operator { .. } => 1,
            Actor::Policy => 1 << 1,
            Actor::Health => 1 << 2,
            Actor::Recovery => 1 << 3,
            Actor::System => 1 << 4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_an_actor_can_contain_it() {
        let ann = Actor::Operator { uid: 1000, user: Some("ann".to_owned()), terminal: None };
        let actors = [ann, Actor::Policy, Actor::Health, Actor::Recovery, Actor::System];
        for text in ["operator", "ann", "uid:1000", "policy", "health", "recovery", "system"] {
            let filter: ActorFilter = text.parse().unwrap();
            for actor in &actors {
                let class = ActorSet::from(actor);
                assert!(!filter.accepts(actor) || class.can_contain(&filter), "{text} {actor:?}");
                assert_eq!(class.0.count_ones(), 1);
            }
            let classes = actors.iter().map(ActorSet::from);
            assert_eq!(classes.filter(|class| class.can_contain(&filter)).count(), 1, "{text}");
            assert!(ActorSet::ALL.can_contain(&filter));
        }
    }
}
