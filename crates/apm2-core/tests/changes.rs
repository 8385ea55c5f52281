//! Changes of what is supervised: who may make them, and what is left when one fails.

use apm2_core::{
    process::{ProcessError, ProcessSpec, Request},
    supervisor::{Applied, Launch, Supervisor},
};

use crate::support::{Log, in_time, sh};

/// A supervisor in which each instance has a log of its own.
fn supervisor() -> Supervisor {
    let mut services = Log::default().services(Vec::new());
    services.recorder = Box::new(|| Box::new(Log::default()));
    Supervisor::new(services)
}

fn launch_of(group: &str, spec: &ProcessSpec) -> Launch {
    Launch { group: Some(group.to_owned()), ..Launch::new(spec.clone()) }
}

fn named(name: &str, instances: u32) -> ProcessSpec {
    ProcessSpec { name: name.to_owned(), instances, ..sh("exec sleep 1000") }
}

#[tokio::test]
async fn what_a_group_owns_is_changed_and_taken_away_by_that_group_alone() {
    let supervisor = supervisor();
    let (spec, by) = (sh("exec sleep 1000"), Request::default());
    in_time(supervisor.bring_up(launch_of("a", &spec), &by)).await.unwrap();
    for foreign in [launch_of("b", &sh("true")), Launch::new(sh("true"))] {
        let refused = in_time(supervisor.bring_up(foreign, &by)).await;
        assert!(matches!(&refused, Err(ProcessError::AlreadyExists(what)) if what.contains("by a")), "{refused:?}");
    }
    for gone in [supervisor.remove(spec.id, Some("b"), &by).await, supervisor.release(spec.id, "b").await] {
        assert!(matches!(gone, Err(ProcessError::NotFound(_))), "{gone:?}");
    }
    let unchanged = in_time(supervisor.bring_up(launch_of("a", &spec), &by)).await.unwrap();
    assert_eq!(unchanged, (Applied::Unchanged, false), "it runs on");
    in_time(supervisor.remove(spec.id, Some("a"), &by)).await.unwrap();
}

#[tokio::test]
async fn changes_at_the_same_time_cannot_end_up_with_one_name_for_two_instances() {
    let (supervisor, by) = (supervisor(), Request::default());
    let (two, one) = (Launch::new(named("web", 2)), Launch::new(named("web-1", 1)));
    let (two, one) = in_time(async { tokio::join!(supervisor.apply(two, &by), supervisor.apply(one, &by)) }).await;
    assert!(two.is_ok() != one.is_ok(), "{two:?} {one:?}");
    assert_eq!(supervisor.launches().len(), 1);
}
