//! Supervised processes: specifications, events, states and the runner.
//!
//! A [`ProcessSpec`] describes what to run. A [`ProcessRunner`] runs one instance of it and produces [`Event`]s, which
//! a [`Recorder`] stores. A [`Stream`] is the state of an instance, computed from its events, and a [`ProcessHandle`]
//! is the public part of this state. Only [`ProcessHandle::apply`] changes a state, and [`transition`] decides which
//! changes are allowed.

pub use apm2_model::{
    clock::{SystemClock, boot_id},
    event::{
        Event, NewEvent,
        actor::{Actor, ActorFilter},
        end_filter::{END_KINDS, EndFilter, InvalidEndFilter},
        exit::{Evidence, Exit, ExitOutcome, RunEnd, SpawnFailure, SpawnStage},
        identity::ProcessIdentity,
        kind::{EventKind, OutputSource, RestartRule, SignalTarget, StartTrigger},
        requester::Requester,
        stream_id::StreamId,
        timestamp::{Clock, Timestamp},
    },
    id_query,
    recorder::{EventStore, NullRecorder, Recorded, Recorder},
    signal::{NotASignal, Signal},
    spec::{
        ProcessSpec,
        builder::{ProcessSpecBuilder, SpecError},
        id::ProcessId,
        redact::{mark::REDACTED, spec::RedactedSpec},
    },
    state::{
        ProcessState,
        handle::ProcessHandle,
        series::Series,
        statistics::{EndCause, EndState, Measured, RunStatistics, STATISTICS_KINDS, StatisticsFold},
        stream::{FollowUp, IllegalEvent, Intent, StopUnderWay, Stream},
        transition::{IllegalTransition, transition},
    },
};

pub use crate::{
    error::ProcessError,
    os::{
        child::{
            configure_malloc, detach, has_ended, lower_descriptor_limit, raise_descriptor_limit, release_free_memory,
            reuse_large_allocations,
        },
        inherited::reset_inherited,
        marker::{LedgerPlace, RUN_VARIABLE},
        precheck::check_launch,
        procfs::{
            ProcessStatus, identify, is_in_another_namespace, pid_namespace, proc_is_of_our_namespace, status_of,
        },
        spawner::{SpawnedProcess, allowed_variables, current_umask, spawn},
    },
    output::{
        fd_store::{FdStore, StoredOutput, StoredRun},
        subscriber::OutputChunk,
    },
    run::runner::ProcessRunner,
};
