use std::task::Waker;

use proptest::prelude::*;

use super::*;

/// A writer that follows a script: how much each write takes (none: it is not ready), and whether a flush is ready.
/// Past the script's end it takes all.
#[derive(Default)]
struct Scripted {
    writes: VecDeque<Option<usize>>,
    flushes: VecDeque<bool>,
    got: Vec<u8>,
    slices_max: usize,
}

impl AsyncWrite for Scripted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.slices_max = self.slices_max.max(slices.len());
        let Some(taken) = self.writes.pop_front().unwrap_or(Some(usize::MAX)) else { return Poll::Pending };
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(taken).collect();
        self.got.extend_from_slice(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.flushes.pop_front().unwrap_or(true) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn poll(outbox: &mut Outbox, io: &mut Scripted) -> Poll<io::Result<Progress>> {
    outbox.poll_write(&mut Context::from_waker(Waker::noop()), io)
}

#[track_caller]
fn progress(polled: Poll<io::Result<Progress>>) -> Progress {
    match polled {
        Poll::Ready(Ok(progress)) => progress,
        other => panic!("expected progress, got {other:?}"),
    }
}

fn outbox(chunks: &[&'static str]) -> Outbox {
    let mut outbox = Outbox::new();
    for chunk in chunks {
        outbox.push(Bytes::from_static(chunk.as_bytes()));
    }
    outbox
}

#[test]
fn a_partial_write_goes_on_where_it_stopped() {
    let mut outbox = outbox(&["abc", "", "de", "f"]);
    let mut io = Scripted { writes: [Some(4), None, None, Some(1), None].into(), ..Scripted::default() };
    assert_eq!(progress(poll(&mut outbox, &mut io)), Progress { bytes: 4, done: false });
    assert_eq!(outbox.pending_bytes(), 2);
    assert!(poll(&mut outbox, &mut io).is_pending(), "nothing could be written");
    assert_eq!(progress(poll(&mut outbox, &mut io)), Progress { bytes: 1, done: false });
    assert!(!outbox.is_empty());
    assert_eq!(progress(poll(&mut outbox, &mut io)), Progress { bytes: 1, done: true });
    assert!(outbox.is_empty());
    assert_eq!(io.got, b"abcdef");
    assert_eq!(progress(poll(&mut outbox, &mut io)), Progress { bytes: 0, done: true });
}

#[test]
fn it_is_not_empty_before_it_is_flushed() {
    let mut outbox = outbox(&["abc"]);
    let mut io = Scripted { flushes: [false, false].into(), ..Scripted::default() };
    assert_eq!(progress(poll(&mut outbox, &mut io)), Progress { bytes: 3, done: false });
    assert_eq!((outbox.pending_bytes(), outbox.is_empty()), (0, false));
    assert!(poll(&mut outbox, &mut io).is_pending());
    assert_eq!(progress(poll(&mut outbox, &mut io)), Progress { bytes: 0, done: true });
    assert!(outbox.is_empty());
}

#[test]
fn a_write_of_nothing_is_an_error() {
    let mut io = Scripted { writes: [Some(0)].into(), ..Scripted::default() };
    match poll(&mut outbox(&["abc"]), &mut io) {
        Poll::Ready(Err(error)) => assert_eq!(error.kind(), io::ErrorKind::WriteZero),
        other => panic!("expected an error, got {other:?}"),
    }
}

#[test]
fn many_chunks_go_out_in_few_writes_and_leave_no_slots_behind() {
    let mut outbox = outbox(&["ab"; 1000]);
    let mut io = Scripted::default();
    assert_eq!(progress(poll(&mut outbox, &mut io)), Progress { bytes: 2000, done: true });
    assert_eq!(io.slices_max, SLICES_MAX);
    assert!(outbox.chunks.capacity() <= 2 * SLOTS_KEPT, "{} slots are kept", outbox.chunks.capacity());
}

#[test]
fn clear_drops_the_rest() {
    let mut outbox = outbox(&["abc", "def"]);
    let mut io = Scripted { writes: [Some(4), None].into(), ..Scripted::default() };
    progress(poll(&mut outbox, &mut io));
    outbox.clear();
    assert_eq!(outbox.pending_bytes(), 0);
    assert!(progress(poll(&mut outbox, &mut io)).done);
    assert_eq!(io.got, b"abcd");
}

#[test]
fn clear_does_not_wait_for_what_the_writer_holds_back() {
    let mut outbox = outbox(&["abc"]);
    let mut io = Scripted { flushes: [false].into(), ..Scripted::default() };
    progress(poll(&mut outbox, &mut io));
    assert!(!outbox.is_empty());
    outbox.clear();
    assert!(outbox.is_empty());
}

proptest! {
    #[test]
    fn any_writer_gets_all_bytes_in_order(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..200),
        writes in proptest::collection::vec(proptest::option::of(1..300_usize), 0..100),
        flushes in proptest::collection::vec(any::<bool>(), 0..4),
    ) {
        let mut outbox = Outbox::new();
        for chunk in &chunks {
            outbox.push(Bytes::copy_from_slice(chunk));
        }
        let expected = chunks.concat();
        let mut io = Scripted { writes: writes.into(), flushes: flushes.into(), ..Scripted::default() };
        let mut written = 0;
        while !outbox.is_empty() {
            let (scripted, before) = (io.writes.len() + io.flushes.len(), io.got.len());
            match poll(&mut outbox, &mut io) {
                Poll::Ready(progress) => {
                    let progress = progress.expect("the script has no errors");
                    written += progress.bytes;
                    prop_assert_eq!(progress.done, outbox.is_empty());
                }
                Poll::Pending => {
                    prop_assert_eq!(io.got.len(), before, "pending means no progress");
                    prop_assert!(io.writes.len() + io.flushes.len() < scripted, "only the script says so");
                }
            }
            prop_assert_eq!(written, io.got.len());
            prop_assert_eq!(outbox.pending_bytes(), expected.len() - written);
        }
        prop_assert_eq!(io.got, expected);
    }
}
