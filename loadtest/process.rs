//! What the kernel says of a gateway's processes: CPU time and memory.

use std::{fs, process::Command};

/// Nanoseconds that all threads of these processes have spent on a CPU, in user and kernel mode.
///
/// # Errors
/// When there is no such process.
pub fn cpu_ns(pids: &[u32]) -> Result<u64, String> {
    let mut sum = 0;
    for pid in pids {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(|e| format!("no process {pid}: {e}"))?;
        for task in tasks.flatten() {
            // A thread may end between the listing and the reading.
            let Ok(line) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            sum += line.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// Bytes of memory of these processes; what they share counts once (the proportional set).
///
/// # Errors
/// When there is no such process.
pub fn memory_bytes(pids: &[u32]) -> Result<u64, String> {
    let mut sum = 0;
    for pid in pids {
        let text =
            fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).map_err(|e| format!("no process {pid}: {e}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
        sum += line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024;
    }
    Ok(sum)
}

/// Asks processes to read their configuration again.
pub fn reload(pids: &[u32]) {
    for pid in pids {
        // A process that has gone shows in its figures.
        let _sent = Command::new("kill").args(["-HUP", &pid.to_string()]).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn cpu_of_other_threads_is_left_out() {
        let own = std::process::id();
        let before = cpu_ns(&[own]).unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let spinning = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || while !spinning.load(std::sync::atomic::Ordering::Relaxed) {});
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while cpu_ns(&[own]).unwrap() < before + 5_000_000 {
            assert!(std::time::Instant::now() < deadline, "the spinning thread does not show");
            std::thread::yield_now();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        thread.join().unwrap();
        assert!(cpu_ns(&[u32::MAX]).is_err());
    }

    #[test]
    fn memory_that_is_held_does_not_show() {
        let own = [std::process::id()];
        let before = memory_bytes(&own).unwrap();
        let held = vec![1u8; 64 << 20];
        let grown = memory_bytes(&own).unwrap().saturating_sub(before);
        assert!(grown > 32 << 20, "{grown} bytes for {} held", held.len());
        assert!(memory_bytes(&[u32::MAX]).is_err());
    }
}
