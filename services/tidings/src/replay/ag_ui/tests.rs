use crate::replay::recording::Recording;
use crate::replay::tests::told;

/// What a list of events becomes.
fn map(events: &[&str]) -> Vec<String> {
    let file = format!("[{}]", events.join(","));
    let recording = Recording::read(file.as_bytes(), "chat.events.json").unwrap_or_else(|faults| panic!("{faults}"));
    told(&recording)
}

const STARTED: &str = r#"{"type":"RUN_STARTED","threadId":"t","runId":"r","input":{"messages":[{"id":"u","role":"user","content":"Make it blue"}]}}"#;
const FINISHED: &str = r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r"}"#;

/// The events behind those that every run begins with.
fn within(events: &[&str]) -> Vec<String> {
    let mut all = map(&[&[STARTED], events].concat());
    // A list that ends in the middle of a run says so.
    assert!(all.pop().is_some_and(|last| last.starts_with("session.cancelled")));
    all.split_off(4)
}

#[test]
fn a_thread_is_a_session_that_ends_with_its_last_run() {
    let usage = r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","outcome":{"type":"success"},"usage":[{"inputTokens":5,"outputTokens":2}]}"#;
    let expected = [
        r#"session.started {"agents":["agent"],"metadata":{"run":"r","thread":"t"},"mode":"ag-ui","title":"Make it blue"}"#,
        r#"agent.started {"name":"Agent"}"#,
        r#"message.completed {"message_id":"u","role":"user","text":"Make it blue"}"#,
        r#"agent.status {"message":"run 1","status":"working"}"#,
        r#"... agent.status {"message":"waits for the next message","status":"idle"}"#,
        r#"... agent.status {"message":"run 2","status":"working"}"#,
        r#"... usage {"input_tokens":5,"output_tokens":2}"#,
        r#"agent.finished {"outcome":"completed"}"#,
        r#"session.completed {"result":null,"summary":"2 runs"}"#,
    ];
    assert_eq!(map(&[STARTED, FINISHED, STARTED, usage]), expected);
}

#[test]
fn messages_grow_and_are_completed_once() {
    let said = within(&[
        r#"{"type":"TEXT_MESSAGE_START","messageId":"m","role":"assistant","rawEvent":{"any":"thing"}}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"Do","timestamp":1000}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"ne","timestamp":1250}"#,
        r#"{"type":"TEXT_MESSAGE_END","messageId":"m"}"#,
        r#"{"type":"MESSAGES_SNAPSHOT","messages":[{"id":"u","role":"user","content":"Make it blue"},{"id":"x","role":"system","content":"s"},{"id":"m","role":"assistant","content":"Done"},{"id":"n","role":"user","content":"Thanks"}]}"#,
    ]);
    let expected = [
        r#"... message.delta {"message_id":"m","text":"Do"}"#,
        r#"250ms message.delta {"message_id":"m","text":"ne"}"#,
        r#"... message.completed {"message_id":"m","role":"assistant","text":"Done"}"#,
        r#"... message.completed {"message_id":"n","role":"user","text":"Thanks"}"#,
        r#"memory.updated {"count":4,"operation":"snapshot","store":"messages"}"#,
    ];
    assert_eq!(said, expected);
}

#[test]
fn chunks_are_complete_when_something_else_comes() {
    let said = within(&[
        r#"{"type":"TEXT_MESSAGE_CHUNK","messageId":"m","delta":"a"}"#,
        r#"{"type":"TEXT_MESSAGE_CHUNK","delta":"b"}"#,
        r#"{"type":"TOOL_CALL_CHUNK","toolCallId":"c","toolCallName":"grep","delta":"{\"q\""}"#,
        r#"{"type":"TOOL_CALL_CHUNK","delta":":1}"}"#,
        r#"{"type":"STEP_STARTED","stepName":"model"}"#,
    ]);
    let expected = [
        r#"... message.delta {"message_id":"m","text":"a"}"#,
        r#"... message.delta {"message_id":"m","text":"b"}"#,
        r#"... message.completed {"message_id":"m","role":"assistant","text":"ab"}"#,
        r#"... tool.started {"call_id":"c","input":{"q":1},"name":"grep"}"#,
        r#"session.stage {"stage":"model","status":"started"}"#,
    ];
    assert_eq!(said, expected);
}

#[test]
fn tools_start_with_their_arguments_and_end_with_their_result_also_in_a_later_run() {
    let started = [
        r#"{"type":"TOOL_CALL_START","toolCallId":"c","toolCallName":"paint"}"#,
        r#"{"type":"TOOL_CALL_ARGS","toolCallId":"c","delta":"{\"to\":"}"#,
        r#"{"type":"TOOL_CALL_ARGS","toolCallId":"c","delta":"\"blue\"}"}"#,
        r#"{"type":"TOOL_CALL_END","toolCallId":"c"}"#,
    ];
    let call = r#"... tool.started {"call_id":"c","input":{"to":"blue"},"name":"paint"}"#;
    let result = r#"{"type":"TOOL_CALL_RESULT","messageId":"c","toolCallId":"c","content":"{\"ok\":true}"}"#;
    let said = within(&[&started[..], &[result]].concat());
    assert_eq!(said, [call, r#"... tool.completed {"call_id":"c","name":"paint","output":{"ok":true}}"#]);

    let next = r#"{"type":"RUN_STARTED","threadId":"t","runId":"r2","input":{"messages":[{"id":"c","role":"tool","toolCallId":"c","content":"painted"}]}}"#;
    let said = within(&[&started[..], &[FINISHED, next]].concat());
    assert_eq!(said[0], call);
    assert_eq!(said[2], r#"... tool.completed {"call_id":"c","name":"paint","output":"painted"}"#);
}

#[test]
fn an_interrupt_asks_and_leaves_the_session_open() {
    let interrupt = r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","outcome":{"type":"interrupt","interrupts":[{"id":"i","reason":"tool_call","message":"May I?"}]}}"#;
    let expected = [
        r#"... approval.requested {"approval_id":"i","options":["approve","reject"],"question":"May I?"}"#,
        r#"agent.status {"message":"waits for a person","status":"waiting"}"#,
    ];
    assert_eq!(map(&[STARTED, interrupt]).split_off(4), expected);
}

#[test]
fn state_errors_reasoning_and_unknown_types_are_told() {
    let error = r#"{"type":"RUN_ERROR","message":"out of credit","code":"402"}"#;
    let events = [
        STARTED,
        r#"{"type":"STATE_SNAPSHOT","snapshot":{"a":1,"b":2}}"#,
        r#"{"type":"STATE_DELTA","delta":[{"op":"replace","path":"/a","value":2}]}"#,
        r#"{"type":"REASONING_START","messageId":"q"}"#,
        r#"{"type":"REASONING_MESSAGE_START","messageId":"q","role":"reasoning"}"#,
        r#"{"type":"REASONING_MESSAGE_CONTENT","messageId":"q","delta":"Hm"}"#,
        r#"{"type":"REASONING_END","messageId":"q"}"#,
        r#"{"type":"CUSTOM","name":"mood","value":"good"}"#,
        r#"{"type":"NEW_THING","x":1}"#,
        error,
    ];
    let expected = [
        r#"... memory.updated {"count":2,"operation":"snapshot","store":"state","value":{"a":1,"b":2}}"#,
        r#"... memory.updated {"count":1,"operation":"delta","store":"state","value":[{"op":"replace","path":"/a","value":2}]}"#,
        r#"... reasoning.started {"mode":"model","problem":"Make it blue"}"#,
        r#"... reasoning.step {"content":"Hm","step":1,"total_steps":1}"#,
        r#"... log {"details":"good","level":"info","message":"mood","source":"ag-ui"}"#,
        r#"... log {"details":{"x":1},"level":"debug","message":"NEW_THING","source":"ag-ui"}"#,
        r#"... agent.status {"message":"out of credit","status":"failed"}"#,
        r#"session.failed {"code":"402","error":"out of credit"}"#,
    ];
    assert_eq!(map(&events).split_off(4), expected);
}

#[test]
fn several_lists_are_several_sessions_and_threads_are_too() {
    let other = STARTED.replace("\"threadId\":\"t\"", "\"threadId\":\"t2\"");
    let file = format!(r#"{{"first":[{STARTED},{FINISHED},{other}],"second":[{STARTED},{FINISHED}]}}"#);
    let recording = Recording::read(file.as_bytes(), "f").expect("it is sound");
    let mut sessions: Vec<&str> = recording.steps.iter().filter_map(|step| step.event.session.as_deref()).collect();
    sessions.dedup();
    assert_eq!(sessions, ["first", "first-t2", "second"]);
}
