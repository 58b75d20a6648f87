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
//! * A lookup is one walk from the root of the tree to an address. It finds the entry or the gap
//!   there. To step on to the next entry in the tree, as `mas_find()` does, could miss what is
//!   merged or moved between the walk and the step.
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
use core::{marker::PhantomData, mem::MaybeUninit, ptr, ptr::NonNull};

/// How often an address is looked up before it is given up as unproved.
const ATTEMPTS: u32 = 8;

/// The VMAs of an address space, for as long as an RCU section lasts.
pub struct LocklessVmas<'rcu> {
    mm: &'rcu MmWithUser,
    _rcu: PhantomData<&'rcu rcu::Guard>,
}

/// What a caller wants to know of the VMAs that it looks up.
pub trait Wanted {
    /// Whether a VMA is wanted at all, by its flags and by whether it maps a file.
    ///
    /// May be asked of what then proves not to have been a VMA of the mm.
    fn vma(&self, flags: vm_flags_t, file: bool) -> bool;

    /// Whether the files of these VMAs are wanted.
    fn file(&self) -> bool;

    /// Where the caller has noted a file that it has met already.
    fn known(&self, file: FileId) -> Option<usize>;
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
    addr: *const bindings::file,
    freed: usize,
}

/// What a lookup finds at an address.
pub enum Lookup<'rcu> {
    /// A VMA.
    Vma(FoundVma<'rcu>),
    /// Nothing is mapped up to this address, or, where there is none, from there on.
    ///
    /// Each address in between was unmapped at some moment of the lookup.
    Gap(Option<usize>),
    /// It could not be proved that nothing is mapped up to this address, or, where there is none,
    /// from there on.
    Unknown(Option<usize>),
}

/// A range of the maple tree, and what could be proved of the VMA in it.
pub struct FoundVma<'rcu> {
    /// First address of the range. Not above the address that was looked up.
    pub start: usize,
    /// First address behind the range. Above the address that was looked up.
    pub end: usize,
    /// The VMA's fields.
    pub vma: VmaFields<'rcu>,
}

/// What could be learnt of a VMA's fields.
pub enum VmaFields<'rcu> {
    /// They are these.
    Proved(ProvedVma<'rcu>),
    /// They are not [`Wanted`], and were not changing.
    Unwanted,
    /// Nothing, for VMAs of the mm were freed during each attempt.
    Unproved,
}

/// Copies of a VMA's fields that were proved to be of a VMA of the mm.
pub struct ProvedVma<'rcu> {
    /// Whether no change was seen: the VMA's own idea of its range is the maple tree's, and no
    /// writer but fork(2), which changes nothing, held its lock. On weakly ordered machines a
    /// writer who has only begun may be missed: this is a hint, and `maps_change_seq` the proof.
    pub stable: bool,
    /// `vm_flags`.
    pub flags: vm_flags_t,
    /// `vm_pgoff`, in pages.
    pub pgoff: usize,
    /// `vm_file`.
    pub file: VmaFile,
    /// The name that `prctl(PR_SET_VMA_ANON_NAME)` gave it.
    pub anon_name: Option<&'rcu CStr>,
    /// The name of a special mapping.
    pub special_name: Option<&'static CStr>,
}

/// The file that a VMA maps.
pub enum VmaFile {
    /// It maps none.
    None,
    /// It maps one, and [`Wanted::file`] says that it is not wanted.
    Unwanted,
    /// The one that the caller has met already and calls by this number.
    Known(usize),
    /// Another one, with a reference to it. As long as it is kept, it keeps what the file keeps: an
    /// inode's write access, a mount, a device that may be opened once. To drop it may put off the
    /// file's `->release` until the current task returns to user space.
    Pinned(FileId, ARef<MappedFile>),
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

    /// Looks up what is mapped at `addr`, the start of a page.
    ///
    /// A VMA that covers `addr` all the time is found. One that changes may be found though it is
    /// not wanted. One that is being mapped, unmapped or moved may be missed, or found under either
    /// range.
    pub fn lookup(&self, addr: usize, wanted: &impl Wanted) -> Lookup<'rcu> {
        // What is told where nothing else is known.
        let mut lookup = Lookup::Unknown(Some(addr.saturating_add(PAGE_SIZE)));
        for attempt in 1..=ATTEMPTS {
            let last = attempt == ATTEMPTS;
            let freed = self.free_seq().load(Acquire);
            let Some(Entry {
                start,
                last: last_index,
                moved,
                vma,
            }) = self.walk(addr)
            else {
                continue;
            };
            let end = last_index.checked_add(1);
            let Some(vma) = vma else {
                // Orders the copy of the leaf before the load that proves it. Pairs with
                // `mm_maps_free_begin()`.
                smp_mb(Read);
                if !moved && self.free_seq().load(Relaxed) == freed {
                    return Lookup::Gap(end);
                }
                lookup = Lookup::Unknown(end);
                continue;
            };
            let end = end.unwrap_or(usize::MAX);
            // A VMA whose lock is held now, or taken until this is looked at again, may change
            // while it is copied. If it was dropped between these two loads, it has changed.
            let lock_seq = vma.lock_seq();
            let locked = lock_seq == self.lock_seq() && !self.is_forks(lock_seq);
            smp_mb(Read);
            let copy = vma.copy(wanted, last, freed);
            // Orders the copies before the loads that prove them. Pairs with `smp_wmb()` in
            // `mm_maps_free_begin()`.
            smp_mb(Read);
            let proved = self.free_seq().load(Relaxed) == freed;
            let lock_seq_after = vma.lock_seq();
            if lock_seq_after != lock_seq && self.is_forks(lock_seq_after) && !last {
                // fork(2) came to it meanwhile, or another writer before fork(2) did: the next
                // attempt knows.
                lookup = Lookup::Vma(FoundVma {
                    start,
                    end,
                    vma: VmaFields::Unproved,
                });
                continue;
            }
            let stable = !locked && lock_seq_after == lock_seq && vma.has_range(start, end);
            // A VMA that is not wanted may have become so a moment ago, and only a part of what
            // the tree had in it: to leave all of that out takes one that does not change.
            if proved && (last || stable || copy.wanted) {
                let vma = if stable && !copy.wanted {
                    VmaFields::Unwanted
                } else {
                    // SAFETY: The counter has not moved since before the walk from the root.
                    VmaFields::Proved(unsafe { copy.into_proved(stable) })
                };
                return Lookup::Vma(FoundVma { start, end, vma });
            }
            lookup = Lookup::Vma(FoundVma {
                start,
                end,
                vma: VmaFields::Unproved,
            });
        }
        lookup
    }

    fn free_seq(&self) -> &Atomic<usize> {
        // SAFETY: The field is valid for as long as the mm is borrowed. C code writes it by
        // `smp_store_release()`.
        unsafe { Atomic::from_ptr(&raw mut (*self.mm.as_raw()).__bindgen_anon_1.maps_free_seq) }
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

    /// Walks from the root of the maple tree to the entry, or the gap, at `addr`.
    ///
    /// Returns [`None`] where a node on the way was replaced meanwhile.
    fn walk(&self, addr: usize) -> Option<Entry<'rcu>> {
        let mut leaf = MaybeUninit::<bindings::maple_leaf_copy>::uninit();
        let leaf = leaf.as_mut_ptr();
        // SAFETY: The mm is borrowed, so its tree may be pointed to. The tree is in RCU mode,
        // because `mm_users` is not zero and so `exit_mmap()` has not run, and `self._rcu` shows
        // that the RCU read lock is held.
        let copied = unsafe {
            let tree = &raw mut (*self.mm.as_raw()).__bindgen_anon_1.mm_mt;
            bindings::mtree_copy_leaf(tree, addr, 1, leaf)
        };
        // SAFETY: The function has filled in the first entry where it returns true.
        copied.then(|| unsafe {
            Entry {
                start: (*leaf).start,
                last: (*leaf).last[0],
                moved: (*leaf).moved & 1 != 0,
                // INVARIANT: The tree holds VMAs only, and the entry was in it during this RCU
                // section.
                vma: NonNull::new((*leaf).entry[0].cast()).map(|ptr| UnlockedVma {
                    ptr,
                    _rcu: PhantomData,
                }),
            }
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

/// Returns the address behind the last that any process can map.
pub fn task_size_max() -> usize {
    // SAFETY: Always safe to call.
    unsafe { bindings::lockless_task_size_max() }
}

impl MmWithUser {
    /// Returns what tells the heap and the stack from other mappings, at this moment.
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
    pub fn has_users(&self) -> bool {
        // SAFETY: The field, an `atomic_t`, is valid as `self` is a reference.
        let users = unsafe {
            Atomic::<i32>::from_ptr((&raw mut (*self.as_raw()).__bindgen_anon_1.mm_users).cast())
        };
        users.load(Relaxed) != 0
    }

    /// Returns the number of VMAs at about this moment.
    pub fn map_count(&self) -> u32 {
        // SAFETY: The field is valid as `self` is a reference. It may change at any time: volatile,
        // as `READ_ONCE()`.
        let count =
            unsafe { (&raw const (*self.as_raw()).__bindgen_anon_1.map_count).read_volatile() };
        count.max(0) as u32
    }

    /// Returns a number that no other address space has had since boot. The first call gives it.
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
    pub fn maps_change_seq(&self) -> u64 {
        // SAFETY: The field is valid as `self` is a reference. C code writes it by `WRITE_ONCE()`.
        let seq = unsafe {
            Atomic::<u64>::from_ptr(&raw mut (*self.as_raw()).__bindgen_anon_1.maps_change_seq)
        };
        seq.load(Acquire)
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
struct UnprovedVma<'rcu> {
    wanted: bool,
    flags: vm_flags_t,
    pgoff: usize,
    file: VmaFile,
    vm_ops: *const bindings::vm_operations_struct,
    private_data: *const c_void,
    anon_name: *const bindings::anon_vma_name,
    _rcu: PhantomData<&'rcu rcu::Guard>,
}

impl<'rcu> UnlockedVma<'rcu> {
    /// Copies the fields. Pins the file where the VMA is wanted, or `always`.
    ///
    /// `freed` is the `maps_free_seq` that they will be proved with.
    fn copy(&self, wanted: &impl Wanted, always: bool, freed: usize) -> UnprovedVma<'rcu> {
        let vma = self.ptr.as_ptr();
        // SAFETY: By the type invariants the memory is a `vm_area_struct`, so that its fields may
        // be loaded. Others may be writing them: volatile, to load each once, as `READ_ONCE()`.
        // Whatever value is read is valid for its type, as all are integers or raw pointers.
        unsafe {
            let flags = (&raw const (*vma).__bindgen_anon_2.vm_flags).read_volatile();
            let file = (&raw const (*vma).vm_file).read_volatile();
            let is_wanted = wanted.vma(flags, !file.is_null());
            UnprovedVma {
                wanted: is_wanted,
                flags,
                pgoff: (&raw const (*vma).vm_pgoff).read_volatile(),
                file: if is_wanted || always {
                    self.pin_file(file, wanted, freed)
                } else {
                    VmaFile::Unwanted
                },
                vm_ops: (&raw const (*vma).vm_ops).read_volatile(),
                private_data: (&raw const (*vma).vm_private_data).read_volatile(),
                anon_name: self.anon_name(),
                _rcu: PhantomData,
            }
        }
    }

    /// `vm_lock_seq`. What is loaded later is at least as new.
    fn lock_seq(&self) -> u32 {
        // SAFETY: By the type invariants the field may be loaded. Volatile, as in `copy()`.
        let lock_seq = unsafe { (&raw const (*self.ptr.as_ptr()).vm_lock_seq).read_volatile() };
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

    /// Takes a reference to the file that `vm_file` points to, whose VMA's it may ever be. `seen`
    /// is what it pointed to a moment ago.
    fn pin_file(&self, seen: *const bindings::file, wanted: &impl Wanted, freed: usize) -> VmaFile {
        if seen.is_null() {
            return VmaFile::None;
        }
        if !wanted.file() {
            return VmaFile::Unwanted;
        }
        let id = FileId { addr: seen, freed };
        if let Some(place) = wanted.known(id) {
            return VmaFile::Known(place);
        }
        // SAFETY: By the type invariants the field may be pointed to.
        let field = unsafe { &raw mut (*self.ptr.as_ptr()).vm_file };
        // SAFETY: `struct file` is `SLAB_TYPESAFE_BY_RCU` as well (overlayfs' `backing_file` too),
        // and the RCU section began before the pointer was loaded. The function tries once: it
        // returns null where the file is dead or the pointer has changed.
        let file = unsafe { bindings::get_file_active(field) };
        match NonNull::new(file) {
            // SAFETY: The function made a reference, which the `ARef` takes. It is to the file that
            // `vm_file` points to now, which is the one that was seen if the VMA is not freed.
            Some(file) => VmaFile::Pinned(id, unsafe { ARef::from_raw(file.cast()) }),
            // A dead file is that of a freed VMA: the proof will fail.
            None => VmaFile::None,
        }
    }

    #[cfg(CONFIG_ANON_VMA_NAME)]
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

impl<'rcu> UnprovedVma<'rcu> {
    /// # Safety
    ///
    /// The VMA was a VMA of an mm with users, found in its maple tree and not freed, when the last
    /// field was copied.
    unsafe fn into_proved(self, stable: bool) -> ProvedVma<'rcu> {
        // SAFETY: Both pointers are of one VMA: `vm_private_data` of a special mapping is set
        // before the VMA enters the tree, and points to a static.
        let special = unsafe {
            bindings::special_mapping_name_from(self.vm_ops, self.private_data.cast_mut())
        };
        ProvedVma {
            stable,
            flags: self.flags,
            pgoff: self.pgoff,
            file: self.file,
            // SAFETY: Not null, it was a name of the mm's own VMA within this RCU section. Names
            // are freed by `kfree_rcu()` and their string never changes, so that it is good until
            // the section ends. Others may change the reference count beside it: no reference is
            // made but to the string.
            anon_name: (!self.anon_name.is_null()).then(|| unsafe {
                CStr::from_char_ptr((&raw const (*self.anon_name).name).cast())
            }),
            // SAFETY: Not null, it is a string constant.
            special_name: (!special.is_null()).then(|| unsafe { CStr::from_char_ptr(special) }),
        }
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
