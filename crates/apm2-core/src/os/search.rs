//! Searches `/proc` for the processes of runs.
//!
//! Each search reads all of `/proc`. Searches that are requested while another one is in progress wait for it, and are
//! then made together by one search, which begins after all of these requests. If many runs are stopped at once, the
//! number of searches is therefore much smaller than the number of runs.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use crate::{blocking, os::procfs::pids};

/// Attempts to make a complete list of processes.
const PASSES_MAX: u32 = 32;

/// The result of examining one process in `/proc`.
pub(super) enum Sighting<M> {
    /// The process matches these queries, which are given by their indices.
    Members(Vec<(usize, M)>),
    /// The process matches no query. It cannot match one later, and its children cannot either.
    Stranger,
    /// The process is a zombie. It may have matched a query when the list was made, and may have forked since.
    Ended,
    /// The process ended, or was in execve(2), before it could be examined.
    Gone,
}

/// The result of a search for each of its queries; `None` if no complete list could be made for the query.
pub(super) type Found<M> = Vec<Option<Vec<M>>>;

/// Searches all processes of `/proc` for `queries` queries. Repeats the search until, for each query, a pass finds some
/// matching processes, or a complete pass finds none. Each list has the oldest process first.
///
/// If a process forks and ends between the listing of `/proc` and its examination, neither it nor its child is found. A
/// pass without a result is therefore complete only if each process that vanished in the meantime can be excluded. A
/// later pass does not examine again the processes that an earlier pass has excluded, and is therefore short.
pub(super) fn survey<M: Clone>(
    queries: usize,
    mut examine: impl FnMut(u32) -> io::Result<Sighting<M>>,
) -> io::Result<Found<M>> {
    let mut found: Found<M> = vec![None; queries];
    let mut strangers = HashSet::new();
    for _ in 0..PASSES_MAX {
        let (mut of_pass, mut has_vanished) = (vec![Vec::<M>::new(); queries], false);
        let mut unknown: Vec<u32> = pids()?.filter(|pid| !strangers.contains(pid)).collect();
        // The newest processes are examined first, because they are the most likely to end soon.
        unknown.reverse();
        for pid in unknown {
            match examine(pid)? {
                Sighting::Members(members) => {
                    for (query, member) in members {
                        if let Some(members) = of_pass.get_mut(query) {
                            members.push(member);
                        }
                    }
                }
                Sighting::Stranger => drop(strangers.insert(pid)),
                Sighting::Ended => has_vanished |= strangers.insert(pid),
                Sighting::Gone => has_vanished = true,
            }
        }
        for (found, mut members) in found.iter_mut().zip(of_pass) {
            if found.is_none() && (!members.is_empty() || !has_vanished) {
                members.reverse();
                *found = Some(members);
            }
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    Ok(found)
}

/// Makes the searches of concurrent callers together. `Q` is the query of one caller, and `M` a process that
/// matches it.
pub(super) struct CombinedSearch<Q, M> {
    state: Mutex<SearchState<Q, M>>,
    /// Notified at the end of each search.
    ended: Condvar,
    /// The same, for the callers that do not block.
    ended_later: Notify,
}

/// Who asked for a query.
enum Caller<M> {
    /// A thread that waits for the result with this ticket.
    Thread(u64),
    /// A task that waits for the result.
    Task(oneshot::Sender<io::Result<Vec<M>>>),
}

struct SearchState<Q, M> {
    /// Whether a caller makes a search at the moment.
    is_searching: bool,
    next_ticket: u64,
    /// The queries of the next search, each with its caller.
    waiting: Vec<(Caller<M>, Q)>,
    /// The results that their callers have not taken yet, by ticket.
    results: BTreeMap<u64, io::Result<Vec<M>>>,
}

impl<Q, M> CombinedSearch<Q, M> {
    pub(super) const fn new() -> Self {
        let state = SearchState { is_searching: false, next_ticket: 0, waiting: Vec::new(), results: BTreeMap::new() };
        Self { state: Mutex::new(state), ended: Condvar::new(), ended_later: Notify::const_new() }
    }

    /// The processes that match `query`, from a search that begins after this call. The search is made by `search`, or
    /// by another caller for this one. Blocks.
    ///
    /// # Errors
    /// `/proc` cannot be read, or processes start and end too fast for a complete list.
    pub(super) fn find(&self, query: Q, search: impl FnOnce(&[Q]) -> io::Result<Found<M>>) -> io::Result<Vec<M>> {
        let mut state = self.state();
        let ticket = state.next_ticket;
        state.next_ticket = state.next_ticket.wrapping_add(1);
        state.waiting.push((Caller::Thread(ticket), query));
        while state.is_searching {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
            if let Some(result) = state.results.remove(&ticket) {
                return result;
            }
        }
        let turn = self.begin(&mut state);
        drop(state);
        turn.search(search);
        self.state().results.remove(&ticket).unwrap_or_else(|| Err(broken_off()))
    }

    /// Begins a search. The caller must have found that there is none.
    fn begin(&self, state: &mut SearchState<Q, M>) -> SearchTurn<'_, Q, M> {
        state.is_searching = true;
        SearchTurn { combined: self, callers: Vec::new(), results: Vec::new() }
    }

    /// Like [`find`](Self::find), without a thread that waits. Any number of tasks can wait, so that few searches are made for
    /// many runs.
    ///
    /// # Errors
    /// Those of [`find`](Self::find), or the runtime shuts down.
    pub(super) async fn find_later(
        &'static self,
        query: Q,
        search: fn(&[Q]) -> io::Result<Found<M>>,
    ) -> io::Result<Vec<M>>
    where
        Q: Send,
        M: Send,
    {
        let (sender, mut found) = oneshot::channel();
        self.state().waiting.push((Caller::Task(sender), query));
        loop {
            // Enabled before the state is looked at, so that the end of a search in between is noticed.
            let ended = self.ended_later.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let turn = {
                let mut state = self.state();
                let is_first = !state.is_searching && !state.waiting.is_empty();
                is_first.then(|| self.begin(&mut state))
            };
            if let Some(turn) = turn {
                blocking::search(move || turn.search(search)).await?;
            }
            tokio::select! {
                biased;
                result = &mut found => return result.unwrap_or_else(|_| Err(broken_off())),
                () = ended => {}
            }
        }
    }

    /// Poisoning of the lock is ignored, because the state is complete before each call that can panic.
    fn state(&self) -> MutexGuard<'_, SearchState<Q, M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The search that one caller makes for several callers. When this value is dropped, also by a panic, each caller gets a
/// result, and another caller can make the next search.
struct SearchTurn<'a, Q, M> {
    combined: &'a CombinedSearch<Q, M>,
    callers: Vec<Caller<M>>,
    results: Vec<io::Result<Vec<M>>>,
}

impl<Q, M> SearchTurn<'_, Q, M> {
    /// Makes the search for all callers that wait now. Blocks.
    fn search(mut self, search: impl FnOnce(&[Q]) -> io::Result<Found<M>>) {
        let waiting = std::mem::take(&mut self.combined.state().waiting);
        let (callers, queries): (Vec<Caller<M>>, Vec<Q>) = waiting.into_iter().unzip();
        self.callers = callers;
        self.results = results(search(&queries), queries.len());
    }
}

impl<Q, M> Drop for SearchTurn<'_, Q, M> {
    fn drop(&mut self) {
        let mut results = std::mem::take(&mut self.results).into_iter();
        let mut state = self.combined.state();
        for caller in self.callers.drain(..) {
            let result = results.next().unwrap_or_else(|| Err(broken_off()));
            match caller {
                Caller::Thread(ticket) => drop(state.results.insert(ticket, result)),
                // A task that was dropped needs no result.
                Caller::Task(sender) => drop(sender.send(result)),
            }
        }
        state.is_searching = false;
        drop(state);
        self.combined.ended.notify_all();
        self.combined.ended_later.notify_waiters();
    }
}

/// The result of a search for each of `count` callers.
fn results<M>(found: io::Result<Found<M>>, count: usize) -> Vec<io::Result<Vec<M>>> {
    match found {
        Ok(found) => found.into_iter().map(|members| members.ok_or_else(incomplete)).collect(),
        Err(error) => (0..count).map(|_| Err(copied(&error))).collect(),
    }
}

fn copied(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

fn incomplete() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "processes start and end too fast for a complete list")
}

fn broken_off() -> io::Error {
    io::Error::other("a search for processes has panicked")
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
        time::Duration,
    };

    use super::*;

    /// Waits until `count` callers wait for the next search.
    fn await_callers(combined: &CombinedSearch<u32, u32>, count: usize) {
        while combined.state().waiting.len() < count {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn searches_that_are_requested_during_a_search_are_made_by_one_search_after_it() {
        let combined = Arc::new(CombinedSearch::<u32, u32>::new());
        let searches = Arc::new(AtomicUsize::new(0));
        let (end, ended) = mpsc::channel::<()>();
        let first = {
            let (combined, searches) = (Arc::clone(&combined), Arc::clone(&searches));
            thread::spawn(move || {
                combined.find(0, |queries| {
                    searches.fetch_add(1, Ordering::SeqCst);
                    ended.recv().unwrap();
                    Ok(vec![Some(Vec::new()); queries.len()])
                })
            })
        };
        while searches.load(Ordering::SeqCst) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let later: Vec<_> = (1..=8)
            .map(|query| {
                let (combined, searches) = (Arc::clone(&combined), Arc::clone(&searches));
                thread::spawn(move || {
                    combined.find(query, |queries| {
                        searches.fetch_add(1, Ordering::SeqCst);
                        let of = |query: &u32| (*query != 8).then(|| vec![*query * 10]);
                        Ok(queries.iter().map(of).collect())
                    })
                })
            })
            .collect();
        await_callers(&combined, 8);
        end.send(()).unwrap();
        assert_eq!(first.join().unwrap().unwrap(), Vec::<u32>::new());
        for (query, caller) in (1..=8).zip(later) {
            match caller.join().unwrap() {
                Ok(members) => assert_eq!(members, vec![query * 10]),
                Err(error) => assert_eq!((query, error.kind()), (8, io::ErrorKind::ResourceBusy)),
            }
        }
        assert_eq!(searches.load(Ordering::SeqCst), 2);
        assert!(combined.state().results.is_empty());
    }

    #[test]
    fn after_a_panic_the_callers_get_an_error_and_another_search_can_be_made() {
        let combined = CombinedSearch::<u32, u32>::new();
        thread::scope(|scope| {
            let (panic, panicking) = mpsc::channel::<()>();
            let combined = &combined;
            let first = scope.spawn(move || {
                catch_unwind(AssertUnwindSafe(|| {
                    combined.find(1, |_: &[u32]| {
                        panicking.recv().unwrap();
                        panic!("on purpose")
                    })
                }))
            });
            while !combined.state().is_searching {
                thread::sleep(Duration::from_millis(1));
            }
            let second = scope.spawn(move || combined.find(2, |queries| Ok(vec![Some(Vec::new()); queries.len()])));
            await_callers(combined, 1);
            panic.send(()).unwrap();
            assert!(first.join().unwrap().is_err());
            assert_eq!(second.join().unwrap().unwrap(), Vec::<u32>::new());
        });
        assert!(combined.find(3, |_| Err(io::ErrorKind::PermissionDenied.into())).is_err());
    }

    /// Fails for the query 8.
    fn times_ten(queries: &[u32]) -> io::Result<Found<u32>> {
        Ok(queries.iter().map(|query| (*query != 8).then(|| vec![*query * 10])).collect())
    }

    #[tokio::test]
    async fn tasks_wait_for_one_search_without_threads_and_with_threads() {
        static SEARCH: CombinedSearch<u32, u32> = CombinedSearch::new();
        static SEARCHES: AtomicUsize = AtomicUsize::new(0);
        fn counted(queries: &[u32]) -> io::Result<Found<u32>> {
            SEARCHES.fetch_add(1, Ordering::SeqCst);
            times_ten(queries)
        }
        let (end, ended) = mpsc::channel::<()>();
        // A thread searches; then tasks and another thread wait for the next search.
        let first = thread::spawn(move || {
            SEARCH.find(0, |queries| {
                ended.recv().unwrap();
                counted(queries)
            })
        });
        while !SEARCH.state().is_searching {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let tasks: Vec<_> = (1..=100).map(|query| tokio::spawn(SEARCH.find_later(query, counted))).collect();
        let thread = thread::spawn(|| SEARCH.find(101, counted));
        let dropped = tokio::spawn(SEARCH.find_later(102, counted));
        while SEARCH.state().waiting.len() < 102 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        dropped.abort();
        end.send(()).unwrap();
        for (query, task) in (1..).zip(tasks) {
            match task.await.unwrap() {
                Ok(members) => assert_eq!(members, vec![query * 10]),
                Err(error) => assert_eq!((query, error.kind()), (8, io::ErrorKind::ResourceBusy)),
            }
        }
        assert_eq!(tokio::task::spawn_blocking(|| thread.join().unwrap().unwrap()).await.unwrap(), vec![1010]);
        assert_eq!(first.join().unwrap().unwrap(), vec![0]);
        assert_eq!(SEARCHES.load(Ordering::SeqCst), 2);
        assert_eq!(SEARCH.find_later(5, counted).await.unwrap(), vec![50], "a task makes a search, too");
        let state = SEARCH.state();
        assert!(state.waiting.is_empty() && state.results.is_empty() && !state.is_searching);
    }

    #[tokio::test]
    async fn a_task_that_is_dropped_while_it_begins_a_search_leaves_it_to_others() {
        static SEARCH: CombinedSearch<u32, u32> = CombinedSearch::new();
        for _ in 0..100 {
            let begun = tokio::spawn(SEARCH.find_later(1, times_ten));
            tokio::task::yield_now().await;
            begun.abort();
            let found = tokio::time::timeout(Duration::from_secs(20), SEARCH.find_later(2, times_ten)).await;
            assert_eq!(found.unwrap().unwrap(), vec![20]);
        }
    }
}
