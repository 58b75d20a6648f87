// SPDX-License-Identifier: MIT OR Apache-2.0

//! The state of an address space, which the kernel tells without a look at its mappings.

use crate::{
    Token,
    wire::{
        MAPS_LOCKLESS_STATUS_GONE, MAPS_LOCKLESS_STATUS_LIVE, MAPS_LOCKLESS_STATUS_NO_MM,
        maps_lockless_state,
    },
};

/// Whether there is an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// A process uses it.
    Live,
    /// It is gone: the process exited, or called execve(2).
    Gone,
    /// The process had none when the file was opened: a kernel thread, or a process that had exited and
    /// was not waited for.
    NoAddressSpace,
    /// Something that a later kernel knows and this library does not.
    Unknown,
}

/// The state of an address space. See [`Reader::state`](crate::Reader::state).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct State {
    /// Whether there is an address space.
    pub status: Status,
    /// Identity of the address space, never used again until reboot. 0: there never was one.
    pub mm_id: u64,
    /// Its change count. Odd: it is being changed.
    pub count: u64,
    /// Number of mappings. It may be changing, and is no evidence of anything.
    pub vma_count: u32,
    /// Bytes of a page, a power of two.
    pub page_size: u64,
    /// Number of the request that is set on the open file. 0: none.
    pub request: u64,
    /// `MAPS_LOCKLESS_FIELD_*` that this kernel can fill.
    pub fields_supported: u64,
    /// `MAPS_LOCKLESS_VMA_*` that this kernel reports.
    pub vma_flags_supported: u64,
}

impl State {
    /// [`None`] where the size of a page is none.
    pub(crate) fn new(state: &maps_lockless_state) -> Option<Self> {
        state.page_size.is_power_of_two().then_some(Self {
            status: match state.status {
                MAPS_LOCKLESS_STATUS_LIVE => Status::Live,
                MAPS_LOCKLESS_STATUS_GONE => Status::Gone,
                MAPS_LOCKLESS_STATUS_NO_MM => Status::NoAddressSpace,
                _ => Status::Unknown,
            },
            mm_id: state.mm_id,
            count: state.seq,
            vma_count: state.vma_count,
            page_size: state.page_size.into(),
            request: state.request,
            fields_supported: state.fields_supported,
            vma_flags_supported: state.vma_flags_supported,
        })
    }

    /// What later states and listings can be compared with. [`None`] where there is no address space,
    /// or it is being changed at this moment.
    pub fn token(&self) -> Option<Token> {
        Token::new(self.mm_id, self.count).filter(|_| self.status == Status::Live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> maps_lockless_state {
        maps_lockless_state {
            status: MAPS_LOCKLESS_STATUS_LIVE,
            page_size: 4096,
            mm_id: 7,
            seq: 8,
            ..Default::default()
        }
    }

    #[test]
    fn a_token_is_that_of_a_live_address_space_at_rest() {
        let token = |change: fn(&mut maps_lockless_state)| {
            let mut state = state();
            change(&mut state);
            State::new(&state).unwrap().token()
        };
        assert_eq!(token(|_| {}), Some(Token { mm_id: 7, count: 8 }));
        assert_eq!(token(|state| state.seq = 9), None);
        assert_eq!(token(|state| state.mm_id = 0), None);
        for status in [MAPS_LOCKLESS_STATUS_GONE, MAPS_LOCKLESS_STATUS_NO_MM, 0, 77] {
            let mut other = state();
            other.status = status;
            assert_eq!(State::new(&other).unwrap().token(), None, "{status}");
        }
    }

    #[test]
    fn a_page_has_a_size() {
        for page_size in [0, 1000] {
            let state = maps_lockless_state {
                page_size,
                ..state()
            };
            assert_eq!(State::new(&state), None);
        }
    }
}
