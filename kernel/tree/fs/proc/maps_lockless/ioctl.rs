// SPDX-License-Identifier: GPL-2.0

//! ioctl(2): structs that begin with their size, as user space knows it.

use super::wire::*;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    transmute::AsBytes,
    uaccess::{UserPtr, UserSlice},
};

/// A struct of user space that begins with its size, and may be shorter or longer than ours.
pub(crate) struct Argument {
    at: UserPtr,
    size: usize,
}

impl Argument {
    /// Looks at the size of the struct at `at`, whose first version had `least` bytes and which has
    /// `ours` in this kernel.
    ///
    /// Fails with `E2BIG`, and tells our size, where the struct is longer and what is behind our
    /// part is not zero, or where it is longer than a page.
    pub(crate) fn new(at: UserPtr, least: u32, ours: usize) -> Result<Self> {
        let size = UserSlice::new(at, size_of::<u64>())
            .reader()
            .read::<u64>()?;
        if size < u64::from(least) {
            return Err(EINVAL);
        }
        // No truncation where it is used: it is not above a page.
        let argument = Self {
            at,
            size: size as usize,
        };
        let is_longer = size > ours as u64;
        if is_longer && (size > PAGE_SIZE as u64 || !argument.is_zero_behind(ours)?) {
            UserSlice::new(at, size_of::<u64>())
                .writer()
                .write(&(ours as u64))?;
            return Err(E2BIG);
        }
        Ok(argument)
    }

    #[cold]
    fn is_zero_behind(&self, ours: usize) -> Result<bool> {
        let rest = self.size.saturating_sub(ours);
        let mut reader = UserSlice::new(self.at.wrapping_byte_add(ours), rest).reader();
        let mut chunk = [0; 64];
        while !reader.is_empty() {
            let chunk = &mut chunk[..reader.len().min(64)];
            reader.read_slice(chunk)?;
            if chunk.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the struct. What it is too short for is zero.
    pub(crate) fn request(&self) -> Result<maps_lockless_request> {
        let mut request = maps_lockless_request::default();
        let bytes = request.as_mut_bytes();
        let known = self.size.min(bytes.len());
        UserSlice::new(self.at, known)
            .reader()
            .read_slice(&mut bytes[..known])?;
        Ok(request)
    }

    /// Writes the struct, as much as there is room for. Its size stays as user space has it, and
    /// what is behind our part is zero already.
    #[inline]
    pub(crate) fn write<T: AsBytes>(&self, value: &T) -> Result {
        if self.size == size_of::<T>() {
            // It has this size in it.
            return UserSlice::new(self.at, self.size).writer().write(value);
        }
        self.write_behind_size(value.as_bytes())
    }

    #[cold]
    fn write_behind_size(&self, bytes: &[u8]) -> Result {
        let end = self.size.min(bytes.len());
        let begin = size_of::<u64>().min(end);
        UserSlice::new(self.at.wrapping_byte_add(begin), end - begin)
            .writer()
            .write_slice(&bytes[begin..end])
    }
}
