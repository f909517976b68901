//! Inboxes: commands from put to settled, runners from their first asking until they are forgotten.

use std::sync::Arc;

use bytes::Bytes;

use super::Subject;
use super::writer::{Writer, plain, project};
use crate::inbox::{
    BODY_BYTES_MAX, Due, Found, Guarded, Here, Inboxes, ItemKind, KEPT_MS, Lapsed, LeaseAct, LeaseAnswer, LeaseStep,
    Leased, OPEN_IN_ALL, OWNED_MAX, Owned, Placed, Put, PutAnswer, REST_MS, RUNNERS_MAX, Standing, TAKEN_MAX, Take,
};
use crate::{AppendBatch, GuardStep, index};

mod commands;
mod runners;
mod waking;

use commands::{
    a_command_waits_for_a_runner_that_can, a_known_id_changes_nothing,
    a_lease_is_accepted_extended_and_asked_for_by_its_own_runner, a_lease_is_its_runners_and_its_subjects,
    a_lease_that_ran_out_waits_again_in_its_old_place, a_notice_leaves_without_an_answer,
    a_runner_takes_what_it_has_room_for, a_take_finds_its_own_behind_what_waits_for_others,
    alarms_of_each_class_have_room_of_their_own, an_alarm_goes_off_unless_its_guard_stands,
    more_that_is_due_than_one_call_tells, names_and_bodies_are_bounded, notices_come_to_full_hands,
    so_many_may_be_open_for_a_capability, so_many_may_be_open_that_are_bound_and_in_all,
    what_is_answered_is_told_to_no_runner, what_is_given_back_is_for_others_first,
    what_is_open_is_found_with_who_asked, what_is_past_its_deadline_is_due_until_it_is_settled,
    what_is_settled_is_gone, what_waits_is_taken_in_order_and_urgent_ones_first, without_a_runner_nothing_is_put,
};
use runners::{
    a_command_goes_to_the_runner_of_its_session, a_runners_name_is_its_own, a_session_that_is_over_is_nobodys,
    a_weak_claim_takes_what_nobody_has, an_agents_runner_comes_before_its_sessions,
    sessions_of_a_lapsed_runner_are_told_until_they_are_forgotten, so_many_runners_are_known,
    what_a_lapsed_runner_had_accepted_is_lost, what_a_lapsed_runner_had_not_accepted_waits_again,
    what_is_bound_to_a_lapsed_runner_is_lost, who_comes_back_has_what_it_had, who_leaves_has_lapsed,
    who_looks_further_is_not_brought_back, who_was_heard_of_longest_ago_is_forgotten_first, who_works_is_there,
};
use waking::{
    a_cleared_inbox_holds_nothing, a_deleted_projects_commands_are_not_put_again,
    an_inbox_of_which_nothing_came_is_not_kept, an_inbox_that_was_left_is_empty, inboxes_are_listed_once_they_are_used,
    who_watches_is_told_whom_it_concerns,
};

super::cases! {
    a_command_waits_for_a_runner_that_can
    without_a_runner_nothing_is_put
    a_known_id_changes_nothing
    so_many_may_be_open_for_a_capability
    so_many_may_be_open_that_are_bound_and_in_all
    alarms_of_each_class_have_room_of_their_own
    what_waits_is_taken_in_order_and_urgent_ones_first
    a_runner_takes_what_it_has_room_for
    a_take_finds_its_own_behind_what_waits_for_others
    a_lease_that_ran_out_waits_again_in_its_old_place
    a_lease_is_accepted_extended_and_asked_for_by_its_own_runner
    a_lease_is_its_runners_and_its_subjects
    what_is_given_back_is_for_others_first
    what_is_answered_is_told_to_no_runner
    what_is_settled_is_gone
    what_is_open_is_found_with_who_asked
    what_is_past_its_deadline_is_due_until_it_is_settled
    a_notice_leaves_without_an_answer
    notices_come_to_full_hands
    an_alarm_goes_off_unless_its_guard_stands
    more_that_is_due_than_one_call_tells
    names_and_bodies_are_bounded
    a_runners_name_is_its_own
    who_looks_further_is_not_brought_back
    so_many_runners_are_known
    what_a_lapsed_runner_had_accepted_is_lost
    what_a_lapsed_runner_had_not_accepted_waits_again
    who_leaves_has_lapsed
    who_works_is_there
    who_comes_back_has_what_it_had
    a_command_goes_to_the_runner_of_its_session
    an_agents_runner_comes_before_its_sessions
    a_weak_claim_takes_what_nobody_has
    what_is_bound_to_a_lapsed_runner_is_lost
    a_session_that_is_over_is_nobodys
    sessions_of_a_lapsed_runner_are_told_until_they_are_forgotten
    who_was_heard_of_longest_ago_is_forgotten_first
    who_watches_is_told_whom_it_concerns
    inboxes_are_listed_once_they_are_used
    a_cleared_inbox_holds_nothing
    a_deleted_projects_commands_are_not_put_again
    an_inbox_of_which_nothing_came_is_not_kept
    an_inbox_that_was_left_is_empty
}

const TTL_MS: u64 = 30_000;
const LEASE_MS: u64 = 10_000;
const DEADLINE_MS: u64 = 60_000;

/// An inbox of the project `p`, in words of the cases.
struct Inbox(Arc<dyn Inboxes>);

impl Inbox {
    fn of(subject: &dyn Subject) -> Inbox {
        Inbox(subject.inboxes())
    }

    async fn put(&self, item: Put) -> PutAnswer {
        self.placed(item).await.answer
    }

    async fn placed(&self, item: Put) -> Placed {
        self.0.put(project("p"), item).await.expect("an answer")
    }

    /// A command that is taken in.
    async fn queue(&self, item: Put) {
        assert_eq!(self.put(item).await, PutAnswer::Queued);
    }

    async fn take(&self, take: Take) -> Here {
        self.0.take(project("p"), take).await.expect("an answer")
    }

    async fn taken(&self, take: Take) -> Vec<Leased> {
        match self.take(take).await {
            Here::Taken { commands, .. } => commands,
            other => panic!("not taken: {other:?}"),
        }
    }

    /// What a runner takes of all that it can, by id.
    async fn ids(&self, runner: &str, capabilities: &[&str]) -> Vec<String> {
        self.taken(asks(runner, capabilities, 100)).await.into_iter().map(|leased| leased.id).collect()
    }

    /// It is there, and takes nothing.
    async fn come(&self, runner: &str, capabilities: &[&str]) {
        assert_eq!(self.taken(asks(runner, capabilities, 0)).await.len(), 0);
    }

    async fn step(&self, runner: &str, id: &str, lease: u64, act: LeaseAct) -> LeaseAnswer {
        self.step_as(&format!("subject of {runner}"), runner, id, lease, act).await
    }

    async fn step_as(&self, subject: &str, runner: &str, id: &str, lease: u64, act: LeaseAct) -> LeaseAnswer {
        let step = LeaseStep { id: id.into(), lease, act };
        self.0.answer(project("p"), runner.into(), subject.into(), vec![step]).await.expect("an answer").remove(0)
    }

    async fn accept(&self, runner: &str, id: &str) {
        let answer = self.step(runner, id, 1, LeaseAct::Accept).await;
        assert!(matches!(answer, LeaseAnswer::Done { .. }), "{answer:?}");
    }

    async fn look(&self, id: &str) -> Standing {
        self.0.look(project("p"), vec![id.into()]).await.expect("an answer").remove(0)
    }

    async fn settle(&self, ids: &[&str]) {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self.0.settle(project("p"), ids).await.expect("an answer");
    }

    async fn due(&self) -> Due {
        self.0.due(project("p")).await.expect("an answer")
    }

    async fn own(&self, runner: Option<&str>, session: &str, agent: &str) {
        let runner = runner.map(Into::into);
        let owned = Owned { session: session.into(), agent: agent.into(), runner, weak: false };
        self.0.own(project("p"), vec![owned]).await.expect("an answer");
    }

    async fn claim(&self, runner: &str, session: &str, agent: &str) {
        let runner = Some(runner.into());
        let owned = Owned { session: session.into(), agent: agent.into(), runner, weak: true };
        self.0.own(project("p"), vec![owned]).await.expect("an answer");
    }

    async fn forget(&self, lapsed: Vec<Lapsed>) {
        self.0.forget(project("p"), lapsed).await.expect("an answer");
    }

    /// Whether it was there.
    async fn leave(&self, runner: &str, subject: &str) -> bool {
        self.0.leave(project("p"), runner.into(), subject.into()).await.expect("an answer")
    }
}

fn kind(capability: &str, session: &str, agent: &str) -> ItemKind {
    let (capability, session, agent) = (capability.into(), session.into(), agent.into());
    ItemKind::Command { capability, session, agent, urgent: false, notice: false }
}

fn command(id: &str, capability: &str) -> Put {
    command_for(id, capability, "", "")
}

fn command_for(id: &str, capability: &str, session: &str, agent: &str) -> Put {
    Put {
        id: id.into(),
        asker: "alice".into(),
        kind: kind(capability, session, agent),
        deadline_ms: DEADLINE_MS,
        open_max: 1_000,
        body: Bytes::from(format!("\0{id}\n")),
        life: None,
    }
}

fn urgent(item: Put) -> Put {
    let kind = match item.kind {
        ItemKind::Command { capability, session, agent, notice, .. } => {
            ItemKind::Command { capability, session, agent, notice, urgent: true }
        }
        alarm @ ItemKind::Alarm { .. } => alarm,
    };
    Put { kind, ..item }
}

fn notice(item: Put) -> Put {
    let kind = match item.kind {
        ItemKind::Command { capability, session, agent, urgent, .. } => {
            ItemKind::Command { capability, session, agent, urgent, notice: true }
        }
        alarm @ ItemKind::Alarm { .. } => alarm,
    };
    Put { kind, ..item }
}

fn alarm(id: &str, guard: &str) -> Put {
    Put { kind: ItemKind::Alarm { guard: guard.into() }, ..command(id, "") }
}

fn asks(runner: &str, capabilities: &[&str], max: u32) -> Take {
    Take {
        runner: runner.into(),
        subject: format!("subject of {runner}"),
        capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
        ttl_ms: TTL_MS,
        max,
        in_hand_max: 1_000,
        lease_ms: LEASE_MS,
        goes_on: false,
    }
}

fn pass(subject: &dyn Subject, ms: u64) {
    subject.clock().set(subject.clock().now_ms() + ms);
}

/// The final answer to a command, in the log of `p`.
async fn settle_in_log(subject: &dyn Subject, key: &str, note: &str) -> Guarded {
    let until_ms = subject.clock().now_ms() + 3_600_000;
    let mut writer = Writer::join(subject.broker(), "p").await;
    let guard = GuardStep { index: 0, key: key.into(), until_ms, note: note.into() };
    let position = writer.take(AppendBatch { guards: vec![guard], ..plain(1) }).await;
    Guarded { position, note: note.into() }
}

fn told(items: &[crate::inbox::DueItem]) -> Vec<(&str, &str)> {
    items.iter().map(|item| (&*item.id, &*item.runner)).collect()
}
