//! The measured figures of all rounds.

use std::fmt;
use std::time::Duration;

/// The figures by name, in the order in which they were first noted.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    base: Duration,
}

struct Row {
    name: String,
    /// The times of each round, less the time of the process that does nothing.
    more: Vec<f64>,
    peak_kib: u64,
}

impl Table {
    /// Begins a round. Its base is not known yet.
    pub fn start_round(&mut self) {
        self.base = Duration::ZERO;
    }

    /// Notes the base of this round: the time of the process that does nothing.
    pub fn base(&mut self, time: Duration) {
        self.base = time;
        self.add("/bin/true itself", time.as_secs_f64(), 0);
    }

    /// Notes a figure of this round.
    pub fn note(&mut self, name: &str, time: Duration, peak_kib: u64) {
        self.add(name, time.as_secs_f64() - self.base.as_secs_f64(), peak_kib);
    }

    fn add(&mut self, name: &str, more: f64, peak_kib: u64) {
        let at = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(Row { name: name.to_string(), more: Vec::new(), peak_kib: 0 });
            self.rows.len() - 1
        });
        self.rows[at].more.push(more);
        self.rows[at].peak_kib = self.rows[at].peak_kib.max(peak_kib);
    }

    /// The ratio of two figures: the median of the rounds' ratios.
    pub fn ratio(&self, a: &str, b: &str) -> String {
        let find = |name: &str| self.rows.iter().find(|row| row.name == name);
        match (find(a), find(b)) {
            (Some(x), Some(y)) => {
                let ratios = x.more.iter().zip(&y.more).map(|(x, y)| x / y).collect();
                format!("{a} / {b}: {:.2} at the median", quantile(ratios, 0.5))
            }
            _ => format!("{a} / {b}: not measured"),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<40} {:>8} {:>8} {:>8}  {:>9}",
            "more than /bin/true, in ms", "10 %", "median", "90 %", "peak KiB"
        )?;
        for row in &self.rows {
            let at = |share| 1000.0 * quantile(row.more.clone(), share);
            let peak = if row.peak_kib == 0 { String::new() } else { row.peak_kib.to_string() };
            writeln!(f, "{:<40} {:>8.3} {:>8.3} {:>8.3}  {peak:>9}", row.name, at(0.1), at(0.5), at(0.9))?;
        }
        Ok(())
    }
}

fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 - 1.0) * share).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}
