// SPDX-License-Identifier: GPL-2.0

//! The memory that a read works with.

use super::{files::Files, flags::Memo};
use kernel::{bindings, mm::lockless::Leaf, prelude::*};

/// The longest path, its NUL included.
pub(crate) const PATH_MAX: usize = bindings::PATH_MAX as usize;

/// What a read needs, in memory that is charged to the reader's memory cgroup.
///
/// An open file keeps it from one read of a listing to the next, so that not each of them has to
/// allocate it.
pub(crate) struct Buffers {
    /// Bytes of the batch. What is behind those that were written is of an earlier batch.
    pub(crate) batch: KVVec<u8>,
    pub(crate) files: Files,
    /// Room for a path, where paths were asked for. Has no elements.
    pub(crate) path: KVec<u8>,
    /// For the walk.
    pub(crate) leaf: Leaf,
    pub(crate) flags: Memo,
}

/// How much of it a read needs.
pub(crate) struct Needs {
    /// Bytes of the batch, its header included.
    pub(crate) batch: usize,
    /// Files that an RCU section may add.
    pub(crate) files: usize,
    /// Whether there will be paths.
    pub(crate) path: bool,
}

impl Buffers {
    /// Allocates what `spare` does not have yet.
    pub(crate) fn prepare(spare: &mut Option<KBox<Self>>, needs: Needs) -> Result<&mut Self> {
        // A reader that runs out of memory is told so. The log need not be.
        const FLAGS: kernel::alloc::Flags = GFP_KERNEL_ACCOUNT;

        let buffers = match spare {
            Some(buffers) => buffers,
            // Made in place: it is large for a stack.
            None => spare.insert(KBox::init(
                init!(Self {
                    batch: KVVec::new(),
                    files: Files::new(),
                    path: KVec::new(),
                    leaf <- pin_init::init_zeroed(),
                    flags: Memo::new(),
                }),
                FLAGS,
            )?),
        };
        if buffers.batch.len() < needs.batch {
            // The old one first.
            buffers.batch = KVVec::new();
            buffers.batch = KVVec::zeroed(needs.batch, FLAGS | __GFP_NOWARN)?;
        }
        buffers.files.clear();
        if needs.files > 0 {
            buffers.files.reserve(needs.files)?;
        }
        if needs.path && buffers.path.capacity() == 0 {
            buffers.path = KVec::with_capacity(PATH_MAX, FLAGS)?;
        }
        Ok(buffers)
    }
}
