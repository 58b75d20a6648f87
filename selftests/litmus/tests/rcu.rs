// SPDX-License-Identifier: GPL-2.0

//! The examples of RCU in tools/memory-model/Documentation/explanation.txt, of which it says what the
//! model allows. The kernel's litmus tests have none.

use anyhow::Result;
use litmus::{parse::parse, run::run};

fn result(body: &str) -> Result<&'static str> {
    Ok(run(&parse(&format!("C test\n{{}}\n{body}"))?)?.result())
}

#[test]
fn a_section_does_not_enclose_a_grace_period() -> Result<()> {
    let of = |wait: &str| {
        result(&format!(
            "P0(int *x, int *y) {{
                rcu_read_lock(); WRITE_ONCE(*x, 1); WRITE_ONCE(*y, 1); rcu_read_unlock();
            }}
            P1(int *x, int *y) {{
                int r1; int r2;
                r1 = READ_ONCE(*x); {wait} r2 = READ_ONCE(*y);
            }}
            exists (1:r1=1 /\\ 1:r2=0)"
        ))
    };
    assert_eq!(of("synchronize_rcu();")?, "Never");
    assert_eq!(of("")?, "Sometimes");
    Ok(())
}

#[test]
fn as_many_grace_periods_as_sections() -> Result<()> {
    let of = |begin: &str, wait: &str, end: &str| {
        result(&format!(
            "P0(int *x, int *y) {{
                int r0;
                rcu_read_lock(); r0 = READ_ONCE(*x); WRITE_ONCE(*y, 1); rcu_read_unlock();
            }}
            P1(int *y, int *z) {{
                int r1;
                r1 = READ_ONCE(*y); synchronize_rcu(); WRITE_ONCE(*z, 1);
            }}
            P2(int *x, int *z) {{
                int r2;
                {begin} r2 = READ_ONCE(*z); {wait} WRITE_ONCE(*x, 1); {end}
            }}
            exists (0:r0=1 /\\ 1:r1=1 /\\ 2:r2=1)"
        ))
    };
    // Two sections, one grace period.
    let allowed = of("rcu_read_lock();", "", "rcu_read_unlock();")?;
    assert_eq!(allowed, "Sometimes");
    assert_eq!(of("", "synchronize_rcu();", "")?, "Never");
    Ok(())
}
