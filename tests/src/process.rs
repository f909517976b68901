//! Processes that a test starts: their output is kept and shown when the test fails, and they never outlive it.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::wait::{HANG, within};

/// Lines of a process's output that are shown when a test fails.
const SHOWN_LINES: usize = 60;

/// Sockets that this process may have, as the shell's `ulimit -n` says.
///
/// # Panics
/// When the system does not tell.
pub fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the system tells");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("it is there");
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX)
}

/// A running process, killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Counts lines, so that a wait for one wakes.
    written: watch::Receiver<usize>,
    /// Closed when both outputs are read to their end.
    read: Mutex<Receiver<()>>,
}

impl Process {
    /// Starts `command` with both outputs captured.
    pub fn start(name: impl Into<String>, mut command: Command) -> Process {
        let name = name.into();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (count, written) = watch::channel(0);
        let count = Arc::new(count);
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("it is piped")), Box::new(child.stderr.take().expect("it is piped"))];
        let (reading, read) = channel();
        for output in outputs {
            let (lines, count, reading) = (lines.clone(), count.clone(), reading.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    lock(&lines).push(line);
                    count.send_modify(|count| *count += 1);
                }
                drop(reading);
            });
        }
        Process { name, child, lines, written, read: Mutex::new(read) }
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for a line of output and returns what `find` makes of it; looks at what was written before, too.
    ///
    /// # Panics
    /// When the process ends without such a line.
    pub async fn line<T>(&self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let mut written = self.written.clone();
        let mut seen = 0;
        within(&format!("{}: {what}", self.name), async {
            loop {
                written.borrow_and_update();
                let found = {
                    let lines = lock(&self.lines);
                    let found = lines[seen..].iter().find_map(|line| find(line));
                    seen = lines.len();
                    found
                };
                if let Some(found) = found {
                    return found;
                }
                assert!(written.changed().await.is_ok(), "{} ended without: {what}\n{}", self.name, self.output());
            }
        })
        .await
    }

    /// Everything that it wrote so far.
    pub fn output(&self) -> String {
        lock(&self.lines).join("\n")
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`).
    pub fn signal(&self, signal: &str) {
        // Without unsafe code a signal other than KILL is sent by the tool.
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {signal} to {}", self.name);
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut written = self.written.clone();
        let name = format!("{} ends", self.name);
        // Both outputs close when it ends, and then their readers go.
        within(&name, async { while written.changed().await.is_ok() {} }).await;
        self.child.wait().expect("it is our child")
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        kib.unwrap_or(0u64) * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // Who holds an output longer than that was started by the process, and outlives it.
        if lock(&self.read).recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
            println!("--- {} left somebody behind who holds its output", self.name);
        }
        if std::thread::panicking() {
            let lines = lock(&self.lines);
            let from = lines.len().saturating_sub(SHOWN_LINES);
            println!("--- {} (last {} of {} lines)", self.name, lines.len() - from, lines.len());
            lines[from..].iter().for_each(|line| println!("    {line}"));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port on 127.0.0.1 that was free a moment ago, for programs that must be told one. Taken from below the range that
/// the system gives to outgoing connections, so that none of those comes in between.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    const RANGE: std::ops::Range<u16> = 20_000..32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries of one run may overlap: each starts elsewhere.
    let offset = u16::try_from(std::process::id() * 97 % 12_000).expect("it is below 12,000");
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = RANGE.start + offset.wrapping_add(step) % (RANGE.end - RANGE.start);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
