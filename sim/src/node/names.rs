//! What look-ups of names find.

use std::net::{IpAddr, SocketAddr};

use super::state::State;
use crate::fault::Answers;
use crate::host::{FIRST_PORT, addr};

impl State {
    /// From now on `name` is the address of machine `host`.
    pub(crate) fn set_name(&mut self, name: &str, host: u32) {
        let ip = self.network.addresses.home(host, 0).ip();
        self.names.insert(name.to_owned(), ip);
    }

    /// A look-up begins on `host`: whether it fails, and how it is answered if it does not.
    pub(super) fn begin_lookup(&mut self, host: u32) -> (bool, Option<Answers>) {
        let machine = self.machine(host);
        machine.lookups += 1;
        let (fails, answers) = (machine.nameless > 0, machine.answers.last().copied());
        let family = if fails { Some("lookup") } else { answers.map(Answers::family) };
        if let Some(family) = family {
            self.strike(family);
        }
        (fails, answers)
    }

    /// What `name` is, with its port, in the eyes of `host`.
    pub(super) fn resolve(
        &self,
        host: u32,
        name: &str,
        answers: Option<Answers>,
    ) -> Option<Vec<SocketAddr>> {
        let (name, port) = name.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        let place = self.names.keys().position(|known| known == name)?;
        let of = |ip: IpAddr| SocketAddr::new(ip, port);
        match answers {
            Some(Answers::Partial) if (place + host as usize) % 2 == 1 => None,
            Some(Answers::Changing) => {
                let next = place + self.machines[host as usize].lookups as usize;
                self.names.values().nth(next % self.names.len()).map(|&ip| vec![of(ip)])
            }
            Some(Answers::Foreign) => {
                let nobody = u32::try_from(self.machines.len()).unwrap_or(0) + 8;
                let own = self.network.addresses.home(host, port);
                Some(vec![own, addr(nobody, FIRST_PORT)])
            }
            _ => Some(vec![of(*self.names.get(name)?)]),
        }
    }
}
