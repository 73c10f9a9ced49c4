//! How many connections there are, in all and from each address, and that they are not too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::record::Limit;

/// The connections that are open. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd {
    present: Arc<Mutex<Present>>,
}

#[derive(Debug, Default)]
struct Present {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection that is open.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Crowd,
    address: Option<IpAddr>,
}

impl Crowd {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// Lets a connection in, if there are fewer than `most`, and fewer than `most_per_address` from
    /// its address.
    ///
    /// # Errors
    ///
    /// The limit that it would exceed.
    pub(super) fn enter(
        &self,
        address: Option<IpAddr>,
        most: usize,
        most_per_address: usize,
    ) -> Result<Member, Limit> {
        let address = address.map(network);
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.all >= most {
            return Err(Limit::Connections);
        }
        if let Some(address) = address {
            if present.by_address.get(&address).is_some_and(|count| *count >= most_per_address)
                || most_per_address == 0
            {
                return Err(Limit::ConnectionsPerAddress);
            }
            *present.by_address.entry(address).or_default() += 1;
        }
        present.all += 1;
        Ok(Member { crowd: self.clone(), address })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut present = self.crowd.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.all -= 1;
        if let Some(address) = self.address
            && let Some(count) = present.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                present.by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address: with IPv6 every client has a whole network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_share() {
        let crowd = Crowd::default();
        let enter = |address: &str| crowd.enter(Some(address.parse().unwrap()), 4, 2);
        let first = (enter("10.0.0.1").unwrap(), enter("10.0.0.1").unwrap());
        assert!(enter("10.0.0.1").is_err());
        let _second = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("10.0.0.2").is_err());
        assert!(crowd.enter(None, 4, 2).is_err());
        drop(first);
        assert!(enter("2001:db8::3").is_err());
        let _third = enter("10.0.0.1").unwrap();
        let _fourth = crowd.enter(None, 4, 0).unwrap();
        assert!(enter("10.0.0.3").is_err());
    }
}
