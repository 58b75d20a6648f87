// SPDX-License-Identifier: GPL-2.0

//! The Linux kernel's memory model: whether an execution is allowed.
//!
//! Follows tools/memory-model/linux-kernel.cat and lock.cat of Linux 7.3, name by name, for what the
//! parser takes: no plain accesses, no SRCU, no read-modify-write that is a full barrier. Where every
//! access is marked, `[Marked]` is everything and left out.

use crate::relation::{Relation, Set};

/// The events of an execution and what relates them.
pub struct Execution {
    /// Loads, the one of `spin_lock()` among them.
    pub reads: Set,
    /// Stores, those of `spin_lock()` and `spin_unlock()` among them.
    pub writes: Set,
    /// `smp_load_acquire()` and the load of `spin_lock()`.
    pub acquire: Set,
    /// `smp_store_release()` and the store of `spin_unlock()`.
    pub release: Set,
    /// The load of `spin_lock()`: LKR.
    pub lock_read: Set,
    /// The store of `spin_lock()`: LKW.
    pub lock_write: Set,
    /// The store of `spin_unlock()`: UL.
    pub unlock: Set,
    /// `smp_mb()`.
    pub mb: Set,
    /// `smp_rmb()`.
    pub rmb: Set,
    /// `smp_wmb()`.
    pub wmb: Set,
    /// `smp_mb__after_spinlock()`.
    pub after_spinlock: Set,
    /// `smp_mb__after_unlock_lock()`.
    pub after_unlock_lock: Set,
    /// `synchronize_rcu()`.
    pub sync_rcu: Set,
    /// From each outermost `rcu_read_lock()` to its `rcu_read_unlock()`.
    pub rcu_rscs: Relation,
    /// Program order.
    pub po: Relation,
    /// Between events of one thread.
    pub int: Relation,
    /// Between accesses of one location.
    pub loc: Relation,
    /// From a load to what computes its address by it.
    pub addr: Relation,
    /// From a load to a store of what was computed by it.
    pub data: Relation,
    /// From a load to what is done or not by it.
    pub ctrl: Relation,
    /// From the load to the store of a read-modify-write.
    pub rmw: Relation,
    /// From a store to a load that returns its value.
    pub rf: Relation,
    /// The order of the stores to each location.
    pub co: Relation,
}

impl Execution {
    /// The part that does not need all of the model, and that most executions fail.
    pub fn is_coherent(&self) -> bool {
        let fr = self.rf.inverse().then(self.co);
        let po_loc = self.po & self.loc;
        let (fre, coe) = (fr.without(self.int), self.co.without(self.int));
        (po_loc | self.rf | self.co | fr).is_acyclic() && (self.rmw & fre.then(coe)).is_empty()
    }

    /// Whether the model allows it.
    pub fn is_allowed(&self) -> bool {
        if !self.is_coherent() {
            return false;
        }
        let (po, int, rf, co) = (self.po, self.int, self.rf, self.co);
        let memory = self.reads | self.writes;
        let fence = |set: Set| po.to(set).then(po);
        let external = |relation: Relation| relation.without(int);

        let fr = rf.inverse().then(co);
        let (rfe, rfi) = (external(rf), rf & int);

        let acq_po = po.from(self.acquire).to(memory);
        let po_rel = po.from(memory).to(self.release);
        let po_unlock_lock_po = po
            .to(self.unlock)
            .then((po | rf).to(self.lock_read))
            .then(po);

        let rmb = fence(self.rmb).from(self.reads).to(self.reads);
        let wmb = fence(self.wmb).from(self.writes).to(self.writes);
        let mb = fence(self.mb).from(memory).to(memory)
            | po.optional()
                .from(memory)
                .to(self.lock_write)
                .then(fence(self.after_spinlock))
                .to(memory)
            | po_unlock_lock_po
                .from(memory)
                .to(self.after_unlock_lock)
                .then(po)
                .to(memory);
        let gp = po.to(self.sync_rcu).then(po.optional());
        let strong_fence = mb | gp;

        let fence = strong_fence | po_rel | acq_po | wmb | rmb;

        // Preserved program order.
        let dep = self.addr | self.data;
        let overwrite = co | fr;
        let to_w = (dep | self.ctrl).to(self.writes) | (overwrite & int);
        let to_r = self.addr.to(self.reads) | dep.then(rfi);
        let ppo = to_r | to_w | (fence & int) | (po_unlock_lock_po & int);

        // Propagation.
        let a_cumul = |relation: Relation| rfe.optional().then(relation);
        let rmw_sequence = rf.then(self.rmw).star();
        let cumul_fence =
            (a_cumul(strong_fence | po_rel) | wmb | po_unlock_lock_po).then(rmw_sequence);
        let prop = external(overwrite)
            .optional()
            .then(cumul_fence.star())
            .then(rfe.optional());

        // Happens before.
        let hb = ppo | rfe | (prop.without_identity() & int);
        if !hb.is_acyclic() {
            return false;
        }

        // Propagation of writes and fences.
        let pb = prop.then(strong_fence).then(hb.star());
        if !pb.is_acyclic() {
            return false;
        }

        // RCU.
        let rcu_gp = Relation::identity(self.sync_rcu);
        let rcu_rscsi = self.rcu_rscs.inverse();
        let link = po
            .optional()
            .then(hb.star())
            .then(pb.star())
            .then(prop)
            .then(po);
        let mut order = rcu_gp;
        loop {
            let inner = order.then(link);
            let longer = order
                | rcu_gp.then(link).then(rcu_rscsi)
                | rcu_rscsi.then(link).then(rcu_gp)
                | rcu_gp.then(link).then(inner).then(rcu_rscsi)
                | rcu_rscsi.then(link).then(inner).then(rcu_gp)
                | inner.then(order);
            if longer == order {
                break;
            }
            order = longer;
        }
        let rcu_fence = po.then(order).then(po.optional());
        let rb = prop.then(rcu_fence).then(hb.star()).then(pb.star());
        rb.is_irreflexive()
    }
}
