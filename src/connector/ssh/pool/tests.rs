//! When a shared connection ends, and how many there may be, by a clock that is turned. The connections are counters here; real ones stand in the tests
//! against a real host.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// How many are open, and how many there have been.
#[derive(Default)]
struct Host {
    open: AtomicUsize,
    opened: AtomicUsize,
}

struct Counted {
    host: Arc<Host>,
    number: usize,
    is_lost: AtomicBool,
    is_closed: AtomicBool,
}

impl Link for Counted {
    fn is_closed(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed) || self.is_closed.load(Ordering::Relaxed)
    }

    async fn close(&self) {
        if !self.is_closed.swap(true, Ordering::Relaxed) {
            self.host.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

struct World {
    pool: Pool<Counted>,
    host: Arc<Host>,
    stands: Arc<AtomicBool>,
    changes: watch::Sender<u64>,
}

fn whose(number: usize) -> Whose {
    let name = |text: &str| ("https://issuer.example".to_owned(), text.to_owned());
    Whose { human: name("alice"), agent: name("agent"), lent: number.to_string(), expires_at: Timestamp::UNIX_EPOCH }
}

impl World {
    fn new() -> Self {
        let stands = Arc::new(AtomicBool::new(true));
        Self { pool: Pool::default(), host: Arc::default(), stands, changes: watch::Sender::new(0) }
    }

    async fn try_get(&self, number: usize) -> Result<Arc<Counted>, Refusal> {
        let lease = || {
            let stands = Arc::clone(&self.stands);
            Lease { stands: Box::new(move || stands.load(Ordering::Relaxed)), changes: self.changes.subscribe() }
        };
        let open = async {
            self.host.open.fetch_add(1, Ordering::Relaxed);
            let number = self.host.opened.fetch_add(1, Ordering::Relaxed);
            Ok(Counted { host: Arc::clone(&self.host), number, is_lost: AtomicBool::new(false), is_closed: AtomicBool::new(false) })
        };
        self.pool.get(&whose(number), lease, Duration::from_secs(3), open).await
    }

    async fn get(&self, number: usize) -> Arc<Counted> {
        self.try_get(number).await.unwrap()
    }

    fn open(&self) -> usize {
        self.host.open.load(Ordering::Relaxed)
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn one_is_shared_until_nobody_has_used_it_for_a_minute() {
    let world = World::new();
    for _ in 0..5 {
        assert_eq!(world.get(1).await.number, 0);
        pass(55).await;
    }
    assert_eq!(world.open(), 1);
    pass(15).await;
    assert_eq!(world.open(), 0);
    assert_eq!(world.get(1).await.number, 1);
}

#[tokio::test(start_paused = true)]
async fn one_in_use_is_neither_idle_nor_too_old_but_is_given_to_nobody_else_at_its_age() {
    let world = World::new();
    let long = world.get(1).await;
    pass(14 * 60).await;
    assert_eq!(world.get(1).await.number, 0);
    pass(2 * 60).await;
    assert_eq!(world.get(1).await.number, 1);
    assert!(!long.is_closed());
    drop(long);
    pass(6).await;
    assert_eq!(world.open(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_lent_under_ends_it_at_once_unless_a_call_is_being_stopped_over_it() {
    let world = World::new();
    drop(world.get(1).await);
    let stopping = world.get(2).await;
    world.stands.store(false, Ordering::Relaxed);
    world.changes.send_modify(|count| *count += 1);
    pass(1).await;
    assert_eq!(world.open(), 1);
    pass(8).await;
    assert!(!stopping.is_closed());
    pass(3).await;
    assert!(stopping.is_closed());
    assert_eq!(world.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_one_is_opened_anew() {
    let world = World::new();
    let lost = world.get(1).await;
    lost.is_lost.store(true, Ordering::Relaxed);
    assert_eq!(world.get(1).await.number, 1);
    // One that was said to be dead, by whoever used it, is given to nobody; one that came after it is.
    let silent = world.get(1).await;
    world.pool.forget(&whose(1), &silent).await;
    assert_eq!(world.get(1).await.number, 2);
    world.pool.forget(&whose(1), &silent).await;
    assert_eq!(world.get(1).await.number, 2);
    drop((lost, silent));
    pass(6).await;
    assert_eq!(world.open(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_are_open_than_may_be_and_those_in_use_count() {
    let world = World::new();
    let mut held = Vec::new();
    for number in 0..OPEN_MAX {
        held.push(world.get(number).await);
        pass(0).await;
    }
    assert_eq!(world.try_get(OPEN_MAX).await.err().unwrap().code(), Code::TargetBusy);
    assert_eq!(world.open(), OPEN_MAX);
    // Room is made by whichever was not used for longest, among those that nobody uses.
    drop(held.remove(7));
    pass(6).await;
    drop(held.remove(3));
    assert_eq!(world.get(OPEN_MAX).await.number, OPEN_MAX);
    assert_eq!(world.open(), OPEN_MAX);
    assert_eq!(world.get(3).await.number, 3);
    assert_eq!(world.get(7).await.number, OPEN_MAX + 1);
    // What nobody uses any more ends, and its place with it.
    drop(held);
    pass(70).await;
    assert_eq!(world.open(), 0);
    drop(world.get(OPEN_MAX + 1).await);
    assert_eq!(world.pool.places.lock().unwrap().len(), 1);
    world.pool.close().await;
    assert_eq!(world.open(), 0);
}
