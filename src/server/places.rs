//! Places for connections: so many in all, and of these no more than a share for one address, so that nobody alone can take them all.
//!
//! Trusted proxies speak for many and have no share of their own. A place is given back when its guard is dropped, however the connection ended.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections at once.
const ALL_MAX: usize = 4_096;
/// Connections of one address, or of one IPv6 /64.
const ONE_MAX: usize = 512;

/// Who holds how many.
#[derive(Debug, Default)]
pub(super) struct Places {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by: HashMap<IpAddr, usize>,
}

/// One place, held until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    of: Option<IpAddr>,
}

impl Places {
    /// A place for a connection of this address; without one it counts in the whole alone. `None` if there is none left.
    pub(super) fn take(self: &Arc<Self>, of: Option<IpAddr>) -> Option<Place> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = of.and_then(|of| held.by.get(&of)).copied().unwrap_or(0);
        if held.all >= ALL_MAX || own >= ONE_MAX {
            return None;
        }
        held.all += 1;
        if let Some(of) = of {
            held.by.insert(of, own + 1);
        }
        drop(held);
        Some(Place { places: Arc::clone(self), of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all = held.all.saturating_sub(1);
        let Some(of) = self.of else { return };
        match held.by.get(&of).copied() {
            Some(own) if own > 1 => {
                held.by.insert(of, own - 1);
            }
            _ => {
                held.by.remove(&of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_address_has_a_share_and_gives_back_what_it_held() {
        let places = Arc::new(Places::default());
        let address = |n: u32| Some(IpAddr::V4(Ipv4Addr::from_bits(n)));
        let mut held: Vec<Place> = (0..ONE_MAX).map(|_| places.take(address(1)).unwrap()).collect();
        assert!(places.take(address(1)).is_none());
        held.push(places.take(address(2)).unwrap());
        // A proxy is counted in the whole alone, and the whole has an end.
        held.extend((ONE_MAX + 1..ALL_MAX).map(|_| places.take(None).unwrap()));
        assert!(places.take(None).is_none() && places.take(address(3)).is_none());
        drop(held);
        let left = places.held.lock().unwrap();
        assert!(left.all == 0 && left.by.is_empty(), "{left:?}");
    }
}
