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
//! * Every field is copied once, by a volatile load, then `mm->maps_free_seq` is read again.
//!   Unmoved since before the lookup, it proves that the VMA had not been freed when the last
//!   field was copied, so that every copy is of a VMA of this mm. See `mm_maps_free_begin()` in
//!   `include/linux/mmap_lock.h` for the writer's half. Moved, the copies are thrown away.
//! * What a copied pointer points to is looked at after the proof only. A file is the exception:
//!   it is pinned first, for its memory is typesafe too, and looked into after the proof.
//! * The number of attempts is fixed. There is no wait and no lock. (A walk begins anew where a
//!   node that it came to was replaced meanwhile, as every RCU walk of a maple tree does.)
//!
//! The proof is about whose data it is. It is not about consistency: a VMA that is changed in place
//! while it is copied tears. Writers lock a VMA before they change it, by `vm_lock_seq`, so that
//! its value tells a reader when that may have happened.

use super::{virt::vm_flags_t, MmWithUser};
use crate::{
    bindings,
    fs::{FileAddr, MappedFile},
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

/// How often a VMA is looked up before it is given up as unproved.
const ATTEMPTS: u32 = 4;

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

    /// Where the caller has a file that it has pinned already.
    fn pinned(&self, file: FileAddr) -> Option<usize>;
}

/// What a lookup finds at an address.
pub enum Lookup<'rcu> {
    /// A VMA.
    Vma(FoundVma<'rcu>),
    /// Nothing is mapped up to this address.
    Gap(usize),
    /// Nothing is mapped from there on.
    End,
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
    /// writer held its lock. On weakly ordered machines a writer who has only begun may be missed:
    /// this is a hint, and `maps_change_seq` the proof.
    pub stable: bool,
    /// `vm_flags`.
    pub flags: vm_flags_t,
    /// `vm_pgoff`, in pages.
    pub pgoff: usize,
    /// `vm_file`, pinned.
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
    /// The one that the caller has pinned already and calls by this number.
    Known(usize),
    /// Another one, with a reference to it. To drop it may put off the file's `->release` until the
    /// current task returns to user space.
    Pinned(ARef<MappedFile>),
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
        let mut attempt = 1;
        loop {
            let freed = self.free_seq().load(Acquire);
            let (start, end, vma) = match self.walk(addr) {
                Walked::Vma(start, end, vma) => (start, end, vma),
                Walked::Gap(end) => return Lookup::Gap(end),
                Walked::End => return Lookup::End,
            };
            let last = attempt == ATTEMPTS;
            // A VMA whose lock is held now, or taken until this is looked at again, may change
            // while it is copied. If it was dropped between these two loads, it has changed.
            let lock_seq = vma.lock_seq();
            let locked = lock_seq == self.lock_seq();
            smp_mb(Read);
            let copy = vma.copy(wanted, last);
            // Orders the copies before the loads that prove them. Pairs with `smp_wmb()` in
            // `mm_maps_free_begin()`.
            smp_mb(Read);
            let proved = self.free_seq().load(Relaxed) == freed;
            let stable = !locked && vma.lock_seq() == lock_seq && vma.has_range(start, end);
            // A VMA that is not wanted may have become so a moment ago, and only a part of what
            // the tree had in it: to leave all of that out takes one that does not change.
            if last || (proved && (stable || copy.wanted)) {
                let vma = if !proved {
                    VmaFields::Unproved
                } else if stable && !copy.wanted {
                    VmaFields::Unwanted
                } else {
                    // SAFETY: The counter has not moved since before the walk from the root.
                    VmaFields::Proved(unsafe { copy.into_proved(stable) })
                };
                return Lookup::Vma(FoundVma { start, end, vma });
            }
            attempt += 1;
        }
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

    /// Walks from the root of the maple tree to the entry, or the gap, at `addr`.
    fn walk(&self, addr: usize) -> Walked<'rcu> {
        let mut mas = bindings::ma_state {
            // SAFETY: The mm is borrowed, so its field may be pointed to.
            tree: unsafe { &raw mut (*self.mm.as_raw()).__bindgen_anon_1.mm_mt },
            index: addr,
            last: addr,
            node: ptr::null_mut(),
            status: bindings::maple_status_ma_start,
            min: 0,
            max: usize::MAX,
            alloc: ptr::null_mut(),
            mas_flags: 0,
            store_type: bindings::store_type_wr_invalid,
            ..Default::default()
        };
        // SAFETY: The tree is in RCU mode, because `mm_users` is not zero and so `exit_mmap()` has
        // not run, and `self._rcu` shows that the RCU read lock is held.
        let entry = unsafe { bindings::mas_walk(&mut mas) };
        // The walk compares a pivot with the address and may load it once more for the range: a
        // store between the two can make the range end before the address. What was compared held
        // for the address's page, so that is what is told then, and the way goes on.
        let end = if mas.last >= addr {
            mas.last.saturating_add(1)
        } else {
            addr.saturating_add(PAGE_SIZE)
        };
        match NonNull::new(entry.cast::<bindings::vm_area_struct>()) {
            None if mas.last == usize::MAX => Walked::End,
            None => Walked::Gap(end),
            // INVARIANT: The tree holds VMAs only, and the entry was in it during this RCU section.
            Some(ptr) => Walked::Vma(
                mas.index.min(addr),
                end,
                UnlockedVma {
                    ptr,
                    _rcu: PhantomData,
                },
            ),
        }
    }
}

/// What a walk through the maple tree comes to. See [`Lookup`].
enum Walked<'rcu> {
    Vma(usize, usize, UnlockedVma<'rcu>),
    Gap(usize),
    End,
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
    fn copy(&self, wanted: &impl Wanted, always: bool) -> UnprovedVma<'rcu> {
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
                    self.pin_file(FileAddr(file), wanted)
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
        // SAFETY: By the type invariants the field may be loaded. C code writes it by
        // `WRITE_ONCE()`.
        unsafe { Atomic::from_ptr(&raw mut (*self.ptr.as_ptr()).vm_lock_seq) }.load(Acquire)
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
    fn pin_file(&self, seen: FileAddr, wanted: &impl Wanted) -> VmaFile {
        if seen.0.is_null() {
            return VmaFile::None;
        }
        if !wanted.file() {
            return VmaFile::Unwanted;
        }
        if let Some(place) = wanted.pinned(seen) {
            // The caller's reference keeps the memory from being another file.
            return VmaFile::Known(place);
        }
        // SAFETY: By the type invariants the field may be pointed to.
        let field = unsafe { &raw mut (*self.ptr.as_ptr()).vm_file };
        // SAFETY: `struct file` is `SLAB_TYPESAFE_BY_RCU` as well (overlayfs' `backing_file` too),
        // and the RCU section began before the pointer was loaded. The function tries once: it
        // returns null where the file is dead or the pointer has changed.
        let file = unsafe { bindings::get_file_active(field) };
        match NonNull::new(file) {
            // SAFETY: The function made a reference, which the `ARef` takes.
            Some(file) => VmaFile::Pinned(unsafe { ARef::from_raw(file.cast()) }),
            // A dead file is that of a freed VMA: the proof will fail.
            None => VmaFile::None,
        }
    }

    #[cfg(CONFIG_ANON_VMA_NAME)]
    fn anon_name(&self) -> *const bindings::anon_vma_name {
        // SAFETY: By the type invariants the field may be loaded. C code publishes a new name by
        // `smp_store_release()`.
        let field = unsafe { Atomic::from_ptr(&raw mut (*self.ptr.as_ptr()).anon_name) };
        field.load(Acquire)
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
