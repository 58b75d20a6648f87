// SPDX-License-Identifier: GPL-2.0

//! VMAs seen under RCU alone, with no lock.
//!
//! # Rules
//!
//! A VMA that was found under RCU is memory that stays a `vm_area_struct` until the RCU section
//! ends, and nothing more: `SLAB_TYPESAFE_BY_RCU` lets it be freed and reused, by another mm too,
//! at any moment. Hence:
//!
//! * A VMA's range is the one under which the maple tree has it. `vm_start` and `vm_end` share
//!   their memory with the slab's free pointer; they are compared with, never told.
//! * A lookup walks from the root of the tree to an address, and finds the entry or the gap there.
//!   To step on to the next entry in the tree, as `mas_find()` does, could miss what is merged or
//!   moved between the walk and the step.
//! * The other entries of a leaf are believed only where nothing has changed: a copy of the leaf
//!   serves as long as `mm->maps_change_seq` is even and has not moved since before the walk. Then
//!   another walk would find the same. See [`LocklessVmas::settled()`].
//! * A gap is believed where `mtree_copy_leaf()` saw no boundary of it move, and where
//!   `mm->maps_free_seq` has not moved since before the walk. The counter moves after each erasure
//!   from the tree and before the next store to it, which is what that function asks for.
//! * Every field is copied once, by a volatile load, then `mm->maps_free_seq` is read again.
//!   Unmoved since before the lookup, it proves that the VMA had not been freed when the last
//!   field was copied, so that every copy is of a VMA of this mm. See `mm_maps_free_begin()` in
//!   `include/linux/mmap_lock.h` for the writer's half. Moved, the copies are thrown away.
//! * What a copied pointer points to is looked at after the proof only. A file is the exception:
//!   it is pinned first, for its memory is typesafe too, and looked into after the proof.
//! * `vm_ops` is compared with and never looked into: a file system may free it as soon as the VMA
//!   is closed.
//! * A file's address and the value of `mm->maps_free_seq` with which it was proved to be mapped
//!   are its identity, pinned or not ([`FileId`]).
//! * The number of attempts is fixed, whatever made one fail. There is no wait and no lock.
//!
//! The proof is about whose data it is. It is not about consistency: a VMA that is changed in place
//! while it is copied tears. Writers lock a VMA before they change it, by `vm_lock_seq`, so that
//! its value tells a reader when that may have happened.

use super::{virt::vm_flags_t, MmWithUser};
use crate::{
    bindings,
    fs::MappedFile,
    page::PAGE_SIZE,
    prelude::*,
    str::CStrExt,
    sync::{
        aref::ARef,
        atomic::{Acquire, Atomic, Relaxed},
        barrier::{smp_mb, Read},
        rcu,
    },
};
use core::{marker::PhantomData, ptr, ptr::NonNull};

/// How often an address is looked up before it is given up as unproved.
const ATTEMPTS: u32 = 8;

/// The VMAs of an address space, for as long as an RCU section lasts.
pub struct LocklessVmas<'rcu> {
    mm: &'rcu MmWithUser,
    _rcu: PhantomData<&'rcu rcu::Guard>,
}

/// The most VMAs and gaps of a leaf.
const SLOTS: usize = bindings::MAPLE_RANGE64_SLOTS as usize;

/// Memory for a copy of a leaf of the maple tree, and for copies of its VMAs.
#[derive(pin_init::Zeroable)]
pub struct Leaf {
    copy: bindings::maple_leaf_copy,
    vmas: [VmaCopy; SLOTS],
}

// SAFETY: What its pointers point to is looked at only in the RCU section in which they were
// copied, by whoever holds the leaf. Later they are numbers.
unsafe impl Send for Leaf {}

/// What a caller wants to know of the VMAs that it looks up.
pub trait Wanted {
    /// Whether a VMA is wanted at all, by its flags and by whether it maps a file.
    ///
    /// May be asked of what then proves not to have been a VMA of the mm.
    fn vma(&self, flags: vm_flags_t, file: bool) -> bool;

    /// Whether there are any that are not wanted.
    fn selects(&self) -> bool;

    /// Whether the names that they have of their own are wanted.
    fn name(&self) -> bool;

    /// Whether the file of these VMAs is to be pinned.
    fn file(&self, file: FileId) -> bool;
}

/// The identity of a file that an address space maps: where the file stands in memory, and the
/// `maps_free_seq` of the address space with which it was proved to be mapped.
///
/// Two that are equal are of one file, for the same address space, though nobody has pinned it in
/// between. With the first proof a VMA of the address space held a reference to the file. `vm_file`
/// does not change as long as a VMA is in the tree. To drop the reference, the VMA must be freed,
/// before which the counter moves; so with the second proof, which found the counter unmoved, the
/// file was still the one at this address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    addr: usize,
    freed: usize,
}

impl FileId {
    #[inline]
    fn new(file: *const bindings::file, freed: usize) -> Self {
        Self {
            addr: file.addr(),
            freed,
        }
    }

    /// Returns a number to find the file by in a hash table.
    #[inline]
    pub fn hash(self) -> usize {
        // `GOLDEN_RATIO_64`, as `hash_64()`. The upper half is the better one.
        (self.addr as u64).wrapping_mul(0x61c8_8646_80b5_83eb) as usize >> 32
    }
}

/// What a leaf held while nothing changed.
pub struct Settled<'leaf, 'rcu> {
    /// How many VMAs and gaps were looked at, of which those that are wanted are told.
    pub looked_at: usize,
    /// Where the first of them begins.
    pub start: usize,
    /// Where what was looked at ends, if it ends.
    pub end: Option<usize>,
    vmas: &'leaf [VmaCopy],
    _rcu: PhantomData<&'rcu rcu::Guard>,
}

/// VMAs of which none has changed.
pub struct Unchanged {
    /// How many VMAs and gaps were looked at.
    pub looked_at: usize,
    /// How many of these are VMAs that are wanted.
    pub vmas: u32,
    /// Where what was looked at ends.
    pub end: usize,
    /// Whether a VMA that has changed is there, or behind a gap.
    pub is_at_change: bool,
}

/// What a lookup finds at an address while something changes.
pub enum Lookup<'copy, 'rcu> {
    /// A VMA.
    Vma {
        /// Its fields.
        vma: ProvedVma<'copy, 'rcu>,
        /// Its file, if [`Wanted::file`].
        file: Option<ARef<MappedFile>>,
        /// Whether no change was seen: the VMA's own idea of its range is the maple tree's, and no
        /// writer but fork(2), which changes nothing, held its lock. On weakly ordered machines a
        /// writer who has only begun may be missed: this is a hint, and `maps_change_seq` the
        /// proof.
        stable: bool,
    },
    /// A VMA of which nothing but this range could be proved, for VMAs of the mm were freed during
    /// each attempt.
    Withheld(usize, usize),
    /// Nothing that is wanted is mapped up to this address, or, where there is none, from there on.
    ///
    /// Each address in between was unmapped, or in a VMA that is not wanted and was not changing,
    /// at some moment of the lookup.
    Nothing(Option<usize>),
    /// It could not be proved that nothing is mapped up to this address, or, where there is none,
    /// from there on.
    Unknown(Option<usize>),
}

/// Copies of a VMA's fields that were proved to be of a VMA of the mm.
#[derive(Clone, Copy)]
pub struct ProvedVma<'copy, 'rcu> {
    copy: &'copy VmaCopy,
    _rcu: PhantomData<&'rcu rcu::Guard>,
}

/// The mapping that the architecture shows in every address space, such as `[vsyscall]`.
///
/// It stands in no maple tree and never changes.
pub struct GateVma {
    /// First address.
    pub start: usize,
    /// First address behind.
    pub end: usize,
    /// `vm_flags`.
    pub flags: vm_flags_t,
    /// Its name.
    pub name: Option<&'static CStr>,
}

/// What tells the heap and the stack from other mappings.
pub struct LabelBounds {
    start_brk: usize,
    brk: usize,
    start_stack: usize,
}

impl LabelBounds {
    /// Whether maps calls a mapping without file `[heap]`. As `vma_is_initial_heap()`.
    pub fn is_heap(&self, start: usize, end: usize) -> bool {
        start < self.brk && end > self.start_brk
    }

    /// Whether maps calls a mapping without file `[stack]`. As `vma_is_initial_stack()`.
    pub fn is_stack(&self, start: usize, end: usize) -> bool {
        start <= self.start_stack && end >= self.start_stack
    }
}

impl<'rcu> LocklessVmas<'rcu> {
    /// Gives access to the VMAs of `mm` for as long as the RCU section lasts.
    pub fn new(mm: &'rcu MmWithUser, _rcu: &'rcu rcu::Guard) -> Self {
        Self {
            mm,
            _rcu: PhantomData,
        }
    }

    /// Looks at the VMAs and gaps from `addr`, the start of a page, on, to the end of the leaf of
    /// the maple tree that has `addr`, but at `most` at most, and finds `most_wanted` VMAs at most.
    /// Returns [`None`] where something changes: see [`LocklessVmas::changing`].
    ///
    /// A `maps_change_seq` that was even before the walk to the leaf, and has the same value after
    /// the last copy, shows that nobody held the `mmap_lock` for write in between. The leaf is then
    /// still in the tree and as it was copied: its ranges are exact, its gaps are gaps, and no VMA
    /// in it was changing. This is not the proof that the VMAs are those of the mm: that is
    /// `maps_free_seq`, as everywhere.
    #[inline]
    pub fn settled<'leaf>(
        &self,
        addr: usize,
        most: usize,
        most_wanted: usize,
        wanted: &impl Wanted,
        leaf: &'leaf mut Leaf,
    ) -> Option<Settled<'leaf, 'rcu>> {
        let Leaf { copy, vmas } = leaf;
        let changed = self.mm.maps_change_seq();
        if changed & 1 != 0 {
            return None;
        }
        let freed = self.free_seq_acquire();
        if !self.copy_leaf(addr, most, copy) {
            return None;
        }
        let count = (copy.count as usize).min(SLOTS);
        let mut start = copy.start;
        let mut slot = 0;
        let most_found = most_wanted.min(SLOTS);
        let mut room = vmas[..most_found].iter_mut();
        let mut found = 0;
        while slot < count {
            let end = copy.last[slot].wrapping_add(1);
            // SAFETY: It was found in the tree during this RCU section.
            if let Some(vma) = unsafe { UnlockedVma::new(copy.entry[slot]) } {
                let (flags, file) = vma.flags_and_file();
                if wanted.vma(flags, !file.is_null()) {
                    let Some(to) = room.next() else { break };
                    found += 1;
                    (to.start, to.end) = (start, end);
                    vma.copy(flags, file, wanted, to);
                    if !to.is_plain {
                        (to.looked_at, to.freed, to.mm) = (slot + 1, freed, self.mm.as_raw());
                    }
                }
            }
            start = end;
            slot += 1;
        }
        // Orders the copies of the leaf and of the fields before the loads that prove them. Pairs
        // with `smp_wmb()` in `do_raw_write_seqcount_begin()` and `mm_maps_free_begin()`.
        smp_mb(Read);
        if self.change_seq() != changed || self.free_seq() != freed {
            return None;
        }
        Some(Settled {
            looked_at: slot,
            start: copy.start,
            // Behind the last index of all is none.
            end: (start != 0).then_some(start),
            vmas: &vmas[..found],
            _rcu: PhantomData,
        })
    }

    /// Looks at the VMAs and gaps from `addr`, the start of a page, on, up to the first VMA that
    /// has changed since `since`, an even `maps_change_seq`, and not at what begins at `limit` or
    /// above. Ends with the leaf in which `most` of them were looked at. Where something changes,
    /// fails with the number that was looked at in vain.
    ///
    /// Whoever changes a VMA, or puts one into the tree, locks it, and so stamps it with the change
    /// count of this time. An older stamp is that of a VMA which had the same fields and the same
    /// range at `since`. fork(2) stamps all VMAs, and changes none: they count as changed.
    ///
    /// That the leaves are still in the tree, and as they were copied, is shown as by
    /// [`settled()`], for all of them at once.
    ///
    /// [`settled()`]: Self::settled
    #[inline(never)]
    pub fn unchanged(
        &self,
        addr: usize,
        limit: usize,
        most: usize,
        since: u64,
        wanted: &impl Wanted,
        leaf: &mut Leaf,
    ) -> Result<Unchanged, usize> {
        let copy = &mut leaf.copy;
        let changed = self.mm.maps_change_seq();
        if changed & 1 != 0 {
            return Err(0);
        }
        let freed = self.free_seq_acquire();
        let mut unchanged = Unchanged {
            looked_at: 0,
            vmas: 0,
            end: addr,
            is_at_change: false,
        };
        let old = OldStamps::new(since, changed);
        // Nothing is unchanged where stamps cannot tell.
        let most = if is_within_stamps(since, changed) {
            most
        } else {
            0
        };
        while unchanged.looked_at < most && unchanged.end < limit {
            if !self.copy_leaf(unchanged.end, SLOTS, copy) {
                return Err(unchanged.looked_at);
            }
            let slots = slots_below(copy, limit);
            let entries = &copy.entry[..slots];
            // SAFETY: They were found in the tree during this RCU section.
            let (found, vmas) = unsafe { leading_unchanged(entries, old) };
            unchanged.vmas += vmas;
            if wanted.selects() {
                for entry in &entries[..found] {
                    // SAFETY: As above.
                    if let Some(vma) = unsafe { UnlockedVma::new(*entry) } {
                        unchanged.vmas -= u32::from(!vma.is_wanted(wanted));
                    }
                }
            }
            unchanged.looked_at += found;
            if found > 0 {
                unchanged.end = copy.last[found - 1].wrapping_add(1);
            }
            unchanged.is_at_change = found < slots;
            if found < copy.count as usize {
                break;
            }
        }
        // As in `settled()`.
        smp_mb(Read);
        if self.change_seq() == changed && self.free_seq() == freed {
            Ok(unchanged)
        } else {
            Err(unchanged.looked_at)
        }
    }

    /// Looks up what is mapped at `addr`, the start of a page, whatever is changing.
    ///
    /// A VMA that covers `addr` all the time is found. One that changes may be found though it is
    /// not wanted. One that is being mapped, unmapped or moved may be missed, or found under either
    /// range.
    #[cold]
    pub fn changing<'leaf>(
        &self,
        addr: usize,
        wanted: &impl Wanted,
        leaf: &'leaf mut Leaf,
    ) -> Lookup<'leaf, 'rcu> {
        let copy = &mut leaf.vmas[0];
        // What is told where nothing else is known.
        let mut lookup = Lookup::Unknown(Some(addr.saturating_add(PAGE_SIZE)));
        for attempt in 1..=ATTEMPTS {
            let last_attempt = attempt == ATTEMPTS;
            let freed = self.free_seq_acquire();
            let Some(Entry {
                start,
                last,
                moved,
                vma,
            }) = self.walk(addr)
            else {
                continue;
            };
            let end = last.checked_add(1);
            let Some(vma) = vma else {
                // Orders the copy of the leaf before the load that proves it. Pairs with
                // `mm_maps_free_begin()`.
                smp_mb(Read);
                if !moved && self.free_seq() == freed {
                    return Lookup::Nothing(end);
                }
                lookup = Lookup::Unknown(end);
                continue;
            };
            lookup = Lookup::Withheld(start, end.unwrap_or(usize::MAX));
            // A VMA whose lock is held now, or taken until this is looked at again, may change
            // while it is copied. If it was dropped between these two loads, it has changed.
            let lock_seq = vma.lock_seq();
            let locked = lock_seq == self.lock_seq() && !self.is_forks(lock_seq);
            smp_mb(Read);
            let (flags, file) = vma.flags_and_file();
            let is_wanted = wanted.vma(flags, !file.is_null());
            let mut pinned = None;
            if is_wanted || last_attempt {
                vma.copy(flags, file, wanted, copy);
                (copy.start, copy.end) = (start, end.unwrap_or(usize::MAX));
                (copy.looked_at, copy.freed, copy.mm) = (1, freed, self.mm.as_raw());
                if !file.is_null() && wanted.file(FileId::new(file, freed)) {
                    // A dead file is that of a freed VMA: the proof will fail.
                    pinned = vma.pin_file();
                }
            }
            // Orders the copies before the loads that prove them. Pairs with `smp_wmb()` in
            // `mm_maps_free_begin()`.
            smp_mb(Read);
            let proved = self.free_seq() == freed;
            let lock_seq_after = vma.lock_seq();
            if lock_seq_after != lock_seq && self.is_forks(lock_seq_after) && !last_attempt {
                // fork(2) came to it meanwhile, or another writer before fork(2) did: the next
                // attempt knows.
                continue;
            }
            let stable =
                !locked && lock_seq_after == lock_seq && vma.has_range(start, last.wrapping_add(1));
            // A VMA that is not wanted may have become so a moment ago, and only a part of what
            // the tree had in it: to leave all of that out takes one that does not change.
            if proved && stable && !is_wanted {
                return Lookup::Nothing(end);
            }
            if proved && (is_wanted || last_attempt) {
                let vma = ProvedVma {
                    copy,
                    _rcu: PhantomData,
                };
                return Lookup::Vma {
                    vma,
                    file: pinned,
                    stable,
                };
            }
        }
        lookup
    }

    /// Takes a reference to the file of a VMA of this mm. Returns [`None`] where VMAs of the mm
    /// were freed since it was proved, or where it is plain.
    pub fn pin_file(&self, vma: &ProvedVma<'_, 'rcu>) -> Option<ARef<MappedFile>> {
        if vma.is_plain() || vma.copy.mm != self.mm.as_raw() {
            return None;
        }
        // SAFETY: By the type's lifetime the VMA was found during this RCU section. It is not
        // plain, so that the pointer is its own.
        let file = unsafe { UnlockedVma::new(vma.copy.vma.cast_mut().cast()) }?.pin_file();
        // Orders the reference before the load that proves it. Pairs with `mm_maps_free_begin()`.
        smp_mb(Read);
        file.filter(|_| self.free_seq() == vma.copy.freed)
    }

    #[inline]
    fn free_seq_acquire(&self) -> usize {
        // SAFETY: The field is valid for as long as the mm is borrowed. C code writes it by
        // `smp_store_release()`.
        unsafe {
            Atomic::<usize>::from_ptr(&raw mut (*self.mm.as_raw()).__bindgen_anon_1.maps_free_seq)
        }
        .load(Acquire)
    }

    #[inline]
    fn free_seq(&self) -> usize {
        // SAFETY: The field is valid for as long as the mm is borrowed. Volatile, as `READ_ONCE()`.
        unsafe { (&raw const (*self.mm.as_raw()).__bindgen_anon_1.maps_free_seq).read_volatile() }
    }

    /// `maps_change_seq`, without order.
    #[inline]
    fn change_seq(&self) -> u64 {
        // SAFETY: The field is valid for as long as the mm is borrowed. Volatile, as `READ_ONCE()`.
        unsafe { (&raw const (*self.mm.as_raw()).__bindgen_anon_1.maps_change_seq).read_volatile() }
    }

    /// The sequence number of the `mmap_lock`: odd while it is held for write, and then the
    /// `vm_lock_seq` of each VMA whose lock is held.
    fn lock_seq(&self) -> u32 {
        // SAFETY: The field is valid for as long as the mm is borrowed. Volatile, as `READ_ONCE()`.
        unsafe {
            (&raw const (*self.mm.as_raw()).__bindgen_anon_1.mm_lock_seq.sequence).read_volatile()
        }
    }

    /// Whether a `vm_lock_seq` is that of the last time that fork(2) held the `mmap_lock`.
    fn is_forks(&self, lock_seq: u32) -> bool {
        // SAFETY: The field is valid for as long as the mm is borrowed. C code writes it by
        // `WRITE_ONCE()`.
        let fork_seq = unsafe {
            Atomic::<u64>::from_ptr(&raw mut (*self.mm.as_raw()).__bindgen_anon_1.maps_fork_seq)
        }
        .load(Relaxed);
        // `mm_lock_seq` is the lower half of the change count. The same half of another hold is
        // 2^32 away.
        fork_seq as u32 == lock_seq && self.mm.maps_change_seq().wrapping_sub(fork_seq) < 1 << 31
    }

    /// Walks from the root of the maple tree to the leaf with `addr`, and copies what it holds from
    /// there on. Returns false where a node on the way was replaced meanwhile.
    #[inline]
    fn copy_leaf(&self, addr: usize, most: usize, copy: &mut bindings::maple_leaf_copy) -> bool {
        // SAFETY: The mm is borrowed, so its tree may be pointed to. The tree is in RCU mode,
        // because `mm_users` is not zero and so `exit_mmap()` has not run, and `self._rcu` shows
        // that the RCU read lock is held. The copy is borrowed for writing, and any bytes are valid
        // for it.
        unsafe {
            let tree = &raw mut (*self.mm.as_raw()).__bindgen_anon_1.mm_mt;
            bindings::mtree_copy_leaf(tree, addr, most as c_uint, copy)
        }
    }

    /// Walks from the root of the maple tree to the entry, or the gap, at `addr`.
    ///
    /// Returns [`None`] where a node on the way was replaced meanwhile.
    fn walk(&self, addr: usize) -> Option<Entry<'rcu>> {
        let mut leaf = bindings::maple_leaf_copy::default();
        self.copy_leaf(addr, 1, &mut leaf).then(|| Entry {
            start: leaf.start,
            last: leaf.last[0],
            moved: leaf.moved,
            // SAFETY: It was found in the tree during this RCU section.
            vma: unsafe { UnlockedVma::new(leaf.entry[0]) },
        })
    }
}

/// An entry of the maple tree, or a gap in it.
struct Entry<'rcu> {
    /// First address.
    start: usize,
    /// Last address. The address that was looked up lies in between.
    last: usize,
    /// Whether the range changed while it was copied.
    moved: bool,
    /// The VMA. [`None`] in a gap.
    vma: Option<UnlockedVma<'rcu>>,
}

/// Returns how many entries of a leaf begin below `limit`, without what is behind the last VMA.
#[inline]
fn slots_below(copy: &bindings::maple_leaf_copy, limit: usize) -> usize {
    let last = &copy.last[..(copy.count as usize).min(SLOTS)];
    if last.last().is_some_and(|last| *last < limit) {
        return last.len();
    }
    let mut start = copy.start;
    last.iter()
        .take_while(|last| {
            let is_below = start < limit && **last != usize::MAX;
            start = last.wrapping_add(1);
            is_below
        })
        .count()
}

/// Which stamps of VMAs are older than a change count.
///
/// A stamp is `vm_lock_seq`: the lower half of the change count at the time when the VMA was last
/// locked.
#[derive(Clone, Copy)]
struct OldStamps {
    first: u32,
    count: u32,
}

impl OldStamps {
    /// The stamps that are older than `since`, where `now` is less than 2^32 above.
    #[inline]
    fn new(since: u64, now: u64) -> Self {
        // Stamps from `since` to `now` are new. If their lower half did not pass zero, stamps above
        // `now` are older than the last time that it did. These are not taken for old all the same,
        // for `UINT_MAX` is one of them, which a VMA has that was never locked.
        let first = if since >> 32 == now >> 32 {
            0
        } else {
            (now as u32).wrapping_add(1)
        };
        Self {
            first,
            count: (since as u32).saturating_sub(first),
        }
    }

    #[inline]
    fn has(self, stamp: u32) -> bool {
        stamp.wrapping_sub(self.first) < self.count
    }
}

/// Returns how many entries of a leaf there are before the first VMA that has changed, and how many
/// of these are VMAs.
///
/// # Safety
///
/// They were found in the tree during this RCU section.
#[inline(always)]
unsafe fn leading_unchanged(entries: &[*mut c_void], old: OldStamps) -> (usize, u32) {
    let mut vmas = 0;
    for (found, entry) in entries.iter().enumerate() {
        // SAFETY: By the safety requirements.
        if let Some(vma) = unsafe { UnlockedVma::new(*entry) } {
            if !old.has(vma.stamp()) {
                return (found, vmas);
            }
            vmas += 1;
        }
    }
    (entries.len(), vmas)
}

/// Whether the stamps of VMAs, which have 32 bits, can tell what has changed from one
/// `maps_change_seq` to another.
#[inline]
pub fn is_within_stamps(since: u64, now: u64) -> bool {
    now.checked_sub(since).is_some_and(|by| by < 1 << 32)
}

/// Returns the address behind the last that any process can map.
pub fn task_size_max() -> usize {
    // SAFETY: Always safe to call.
    unsafe { bindings::lockless_task_size_max() }
}

impl MmWithUser {
    /// Returns what tells the heap and the stack from other mappings, at this moment.
    #[inline]
    pub fn label_bounds(&self) -> LabelBounds {
        let mm = self.as_raw();
        // SAFETY: The fields are valid as `self` is a reference. They may change at any time:
        // volatile, to load each once, as `READ_ONCE()`.
        unsafe {
            LabelBounds {
                start_brk: (&raw const (*mm).__bindgen_anon_1.start_brk).read_volatile(),
                brk: (&raw const (*mm).__bindgen_anon_1.brk).read_volatile(),
                start_stack: (&raw const (*mm).__bindgen_anon_1.start_stack).read_volatile(),
            }
        }
    }

    /// Returns the gate VMA of the address space, if the architecture has one for it.
    pub fn gate_vma(&self) -> Option<GateVma> {
        // SAFETY: The pointer is valid as `self` is a reference.
        let vma = NonNull::new(unsafe { bindings::get_gate_vma(self.as_raw()) })?.as_ptr();
        // SAFETY: Gate VMAs are statics that are set up at boot and do not change. Their `->name()`
        // returns a string constant and looks at nothing else.
        unsafe {
            let range = (*vma).__bindgen_anon_1.__bindgen_anon_1;
            let name = (*vma)
                .vm_ops
                .as_ref()
                .and_then(|ops| ops.name)
                .map_or(ptr::null(), |name| name(vma));
            Some(GateVma {
                start: range.vm_start,
                end: range.vm_end,
                flags: (*vma).__bindgen_anon_2.vm_flags,
                name: (!name.is_null()).then(|| CStr::from_char_ptr(name)),
            })
        }
    }
}

impl super::Mm {
    /// Whether a task uses the address space, at this moment.
    #[inline]
    pub fn has_users(&self) -> bool {
        // SAFETY: The field, an `atomic_t`, is valid as `self` is a reference.
        let users = unsafe {
            Atomic::<i32>::from_ptr((&raw mut (*self.as_raw()).__bindgen_anon_1.mm_users).cast())
        };
        users.load(Relaxed) != 0
    }

    /// Returns the number of VMAs at about this moment.
    #[inline]
    pub fn map_count(&self) -> u32 {
        // SAFETY: The field is valid as `self` is a reference. It may change at any time: volatile,
        // as `READ_ONCE()`.
        let count =
            unsafe { (&raw const (*self.as_raw()).__bindgen_anon_1.map_count).read_volatile() };
        count.max(0) as u32
    }

    /// Returns a number that no other address space has had since boot. The first call gives it.
    #[inline]
    pub fn maps_id(&self) -> u64 {
        static LAST: Atomic<i64> = Atomic::new(0);

        // SAFETY: The field, an `atomic64_t`, is valid as `self` is a reference. C code sets it
        // before the mm is shared, and not again.
        let id = unsafe {
            Atomic::<i64>::from_ptr(
                (&raw mut (*self.as_raw()).__bindgen_anon_1.maps_id).cast::<i64>(),
            )
        };
        let seen = id.load(Relaxed);
        if seen != 0 {
            return seen as u64;
        }
        let new = LAST.fetch_add(1, Relaxed) + 1;
        match id.cmpxchg(0, new, Relaxed) {
            Ok(_) => new as u64,
            Err(others) => others as u64,
        }
    }

    /// Returns the count of changes of the address space: odd while its `mmap_lock` is held for
    /// write.
    ///
    /// What is loaded later is at least as new as the count. To bound what was loaded earlier, call
    /// `smp_mb(Read)` first.
    #[inline]
    pub fn maps_change_seq(&self) -> u64 {
        // SAFETY: The field is valid as `self` is a reference. C code writes it by `WRITE_ONCE()`.
        let seq = unsafe {
            Atomic::<u64>::from_ptr(&raw mut (*self.as_raw()).__bindgen_anon_1.maps_change_seq)
        };
        seq.load(Acquire)
    }
}

impl<'leaf, 'rcu> Settled<'leaf, 'rcu> {
    /// The VMAs that are wanted, in the order of their addresses.
    #[inline]
    pub fn vmas(&self) -> impl Iterator<Item = ProvedVma<'leaf, 'rcu>> {
        self.vmas.iter().map(|copy| ProvedVma {
            copy,
            _rcu: PhantomData,
        })
    }
}

impl<'rcu> ProvedVma<'_, 'rcu> {
    /// First address of the range under which the tree has it. It may be below the address that was
    /// looked up.
    #[inline]
    pub fn start(&self) -> usize {
        self.copy.start
    }

    /// First address behind that range.
    #[inline]
    pub fn end(&self) -> usize {
        self.copy.end
    }

    /// How many VMAs and gaps were looked at up to this one, if it is not plain.
    #[inline]
    pub fn looked_at(&self) -> Option<usize> {
        (!self.is_plain()).then_some(self.copy.looked_at)
    }

    /// `vm_flags`.
    #[inline]
    pub fn flags(&self) -> vm_flags_t {
        self.copy.flags
    }

    /// The identity of its file, and `vm_pgoff`, in pages.
    #[inline]
    pub fn file(&self) -> Option<(FileId, usize)> {
        (!self.is_plain() && !self.copy.file.is_null()).then(|| {
            (
                FileId::new(self.copy.file, self.copy.freed),
                self.copy.pgoff,
            )
        })
    }

    /// Whether it maps no file and has no name, or no name is wanted.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.copy.is_plain
    }

    /// Whether it may have a name of its own.
    #[inline]
    pub fn may_have_name(&self) -> bool {
        let VmaCopy {
            file,
            vm_ops,
            anon_name,
            ..
        } = self.copy;
        !self.is_plain() && (!anon_name.is_null() || (file.is_null() && !vm_ops.is_null()))
    }

    /// The name that `prctl(PR_SET_VMA_ANON_NAME)` gave it, if [`Wanted::name`].
    #[inline]
    pub fn anon_name(&self) -> Option<&'rcu CStr> {
        let name = self.copy.anon_name;
        if self.is_plain() || name.is_null() {
            return None;
        }
        // SAFETY: Not null, it was a name of the mm's own VMA within this RCU section. Names are
        // freed by `kfree_rcu()` and their string never changes, so that it is good until the
        // section ends. Others may change the reference count beside it: no reference is made but
        // to the string.
        Some(unsafe { CStr::from_char_ptr((&raw const (*name).name).cast()) })
    }

    /// The name of a special mapping, if [`Wanted::name`]. It has a meaning where there is no file.
    #[inline]
    pub fn special_name(&self) -> Option<&'static CStr> {
        if self.is_plain() || self.copy.vm_ops.is_null() {
            return None;
        }
        let data = self.copy.private_data.cast_mut();
        // SAFETY: Both pointers are of one VMA: `vm_private_data` of a special mapping is set
        // before the VMA enters the tree, and points to a static.
        let name = unsafe { bindings::special_mapping_name_from(self.copy.vm_ops, data) };
        // SAFETY: Not null, it is a string constant.
        (!name.is_null()).then(|| unsafe { CStr::from_char_ptr(name) })
    }
}

/// A VMA that the maple tree had in it during the RCU section `'rcu`.
///
/// # Invariants
///
/// `ptr` points to memory that stays a `vm_area_struct` of its slab cache for `'rcu`. Whose VMA it
/// is, and whether it is one at all, may change at any time.
struct UnlockedVma<'rcu> {
    ptr: NonNull<bindings::vm_area_struct>,
    _rcu: PhantomData<&'rcu rcu::Guard>,
}

/// Copies of a VMA's fields, of which nobody knows yet whether they are its own.
#[derive(pin_init::Zeroable)]
struct VmaCopy {
    start: usize,
    end: usize,
    flags: vm_flags_t,
    /// It maps no file and has no name, or no name is wanted. The fields below are not of this VMA.
    is_plain: bool,
    /// How many VMAs and gaps were looked at up to this one.
    looked_at: usize,
    /// The `maps_free_seq` of the proof.
    freed: usize,
    /// Whose VMA it was.
    mm: *const bindings::mm_struct,
    vma: *const bindings::vm_area_struct,
    file: *const bindings::file,
    pgoff: usize,
    vm_ops: *const bindings::vm_operations_struct,
    private_data: *const c_void,
    anon_name: *const bindings::anon_vma_name,
}

impl<'rcu> UnlockedVma<'rcu> {
    /// Takes an entry of the maple tree of an mm. Returns [`None`] for a gap.
    ///
    /// # Safety
    ///
    /// The entry was found in the tree during the RCU section `'rcu`.
    #[inline]
    unsafe fn new(entry: *mut c_void) -> Option<Self> {
        // INVARIANT: The tree holds VMAs only, and by the safety requirements this was one of them.
        NonNull::new(entry.cast()).map(|ptr| Self {
            ptr,
            _rcu: PhantomData,
        })
    }

    /// Copies `vm_flags` and `vm_file`, by which a VMA is wanted or not.
    #[inline]
    fn flags_and_file(&self) -> (vm_flags_t, *const bindings::file) {
        let vma = self.ptr.as_ptr();
        // SAFETY: By the type invariants the memory is a `vm_area_struct`, so that its fields may
        // be loaded. Others may be writing them: volatile, to load each once, as `READ_ONCE()`.
        // Whatever value is read is valid for its type, as all are integers or raw pointers.
        unsafe {
            (
                (&raw const (*vma).__bindgen_anon_2.vm_flags).read_volatile(),
                (&raw const (*vma).vm_file).read_volatile(),
            )
        }
    }

    /// Whether it is wanted.
    fn is_wanted(&self, wanted: &impl Wanted) -> bool {
        let (flags, file) = self.flags_and_file();
        wanted.vma(flags, !file.is_null())
    }

    /// `vm_lock_seq`, without order.
    #[inline]
    fn stamp(&self) -> u32 {
        // SAFETY: By the type invariants the field may be loaded. Volatile, as in `copy()`.
        unsafe { (&raw const (*self.ptr.as_ptr()).vm_lock_seq).read_volatile() }
    }

    /// Copies the other fields, as far as they are wanted.
    #[inline]
    fn copy(
        &self,
        flags: vm_flags_t,
        file: *const bindings::file,
        wanted: &impl Wanted,
        copy: &mut VmaCopy,
    ) {
        let vma = self.ptr.as_ptr();
        let mut vm_ops = ptr::null();
        let mut anon_name = ptr::null();
        if wanted.name() {
            // SAFETY: As in `flags_and_file()`.
            vm_ops = unsafe { (&raw const (*vma).vm_ops).read_volatile() };
            // It shares a cache line with what page faults write.
            anon_name = self.anon_name();
        }
        copy.flags = flags;
        copy.is_plain = file.is_null() && vm_ops.is_null() && anon_name.is_null();
        if copy.is_plain {
            return;
        }
        copy.vma = vma;
        copy.file = file;
        copy.vm_ops = vm_ops;
        copy.anon_name = anon_name;
        // SAFETY: As in `flags_and_file()`.
        unsafe {
            copy.pgoff = (&raw const (*vma).vm_pgoff).read_volatile();
            copy.private_data = (&raw const (*vma).vm_private_data).read_volatile();
        }
    }

    /// `vm_lock_seq`. What is loaded later is at least as new.
    fn lock_seq(&self) -> u32 {
        let lock_seq = self.stamp();
        smp_mb(Read);
        lock_seq
    }

    /// Whether the VMA's own idea of its range is this.
    fn has_range(&self, start: usize, end: usize) -> bool {
        let vma = self.ptr.as_ptr();
        // SAFETY: By the type invariants the fields may be loaded. Volatile, as in `copy()`.
        let (vm_start, vm_end) = unsafe {
            let range = &raw const (*vma).__bindgen_anon_1.__bindgen_anon_1;
            (
                (&raw const (*range).vm_start).read_volatile(),
                (&raw const (*range).vm_end).read_volatile(),
            )
        };
        (vm_start, vm_end) == (start, end)
    }

    /// Takes a reference to the file that `vm_file` points to, whose VMA's it may ever be. Returns
    /// [`None`] where the file is dead, which is that of a VMA that was freed.
    fn pin_file(&self) -> Option<ARef<MappedFile>> {
        // SAFETY: By the type invariants the field may be pointed to.
        let field = unsafe { &raw mut (*self.ptr.as_ptr()).vm_file };
        // SAFETY: `struct file` is `SLAB_TYPESAFE_BY_RCU` as well (overlayfs' `backing_file` too),
        // and the RCU section began before the pointer was loaded. The function tries once: it
        // returns null where the file is dead or the pointer has changed.
        let file = unsafe { bindings::get_file_active(field) };
        // SAFETY: The function made a reference, which the `ARef` takes. It is to the file that
        // `vm_file` points to now, which is the one that was copied if the VMA is not freed.
        NonNull::new(file).map(|file| unsafe { ARef::from_raw(file.cast()) })
    }

    #[cfg(CONFIG_ANON_VMA_NAME)]
    #[inline]
    fn anon_name(&self) -> *const bindings::anon_vma_name {
        // SAFETY: By the type invariants the field may be loaded. Volatile, as in `copy()`. A name
        // that is found is published by `smp_store_release()`, and the load of its bytes depends on
        // this one.
        unsafe { (&raw const (*self.ptr.as_ptr()).anon_name).read_volatile() }
    }

    #[cfg(not(CONFIG_ANON_VMA_NAME))]
    fn anon_name(&self) -> *const bindings::anon_vma_name {
        ptr::null()
    }
}

#[cfg(CONFIG_PROC_MAPS_LOCKLESS_KUNIT_TEST)]
#[macros::kunit_tests(maps_lockless_labels)]
mod tests {
    use super::*;

    #[test]
    fn ranges_touch_or_do_not() {
        let bounds = LabelBounds {
            start_brk: 0x2000,
            brk: 0x4000,
            start_stack: 0x7800,
        };
        assert!(bounds.is_heap(0x2000, 0x3000) && bounds.is_heap(0x1000, 0x5000));
        assert!(!bounds.is_heap(0x1000, 0x2000) && !bounds.is_heap(0x4000, 0x5000));
        assert!(bounds.is_stack(0x7000, 0x8000));
        assert!(!bounds.is_stack(0x8000, 0x9000) && !bounds.is_stack(0x6000, 0x7000));
    }
}
