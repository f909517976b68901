//! Evolution: generations and their fitness.

use serde_json::{Value, json};

use super::fields::{list, number, number_of, object, time, time_of, truth};
use super::wrapping::Frames;
use crate::told::Told;

/// `evolution.progress` to `evolution_progress`.
pub(super) fn progress(told: &Told<'_>, frames: &mut Frames<'_>) {
    frames.push("evolution_progress", &generation(told, true));
}

/// `evolution.completed` to `evolution_complete`.
pub(super) fn completed(told: &Told<'_>, frames: &mut Frames<'_>) {
    let mut data = generation(told, false);
    data["result"] = told.data()["result"].clone();
    frames.push("evolution_complete", &data);
}

fn generation(told: &Told<'_>, running: bool) -> Value {
    let data = told.data();
    let generation = number(data, "generation");
    let given = object(data, "fitness");
    let fitness = json!({
        "generation": generation,
        "average": number(&given, "average"),
        "best": number(&given, "best"),
        "worst": number(&given, "worst"),
        "diversity": number(&given, "diversity"),
        "timestamp": time_of(&given, "timestamp", told),
    });
    let state = state_of(&object(data, "state"), running, &generation);
    json!({ "generation": generation, "fitness": fitness, "state": state, "timestamp": time(told) })
}

/// The page's picture, from a runner's state in the page's names or in ours. The page merges it: what the runner does not
/// say is left out.
fn state_of(given: &Value, running: bool, generation: &Value) -> Value {
    let mut state = json!({ "isRunning": running, "currentGeneration": generation });
    let numbers: [(&str, &[&str]); 3] = [
        ("maxGenerations", &["maxGenerations", "max_generations", "generations"]),
        ("populationSize", &["populationSize", "population_size"]),
        ("elapsedTime", &["elapsedTime", "elapsed_time"]),
    ];
    for (name, names) in numbers {
        if names.iter().any(|name| given.get(*name).is_some_and(Value::is_number)) {
            state[name] = number_of(given, names);
        }
    }
    let lists = [("bestRecipes", "best_recipes"), ("fitnessHistory", "fitness_history")];
    for (name, ours) in lists {
        let found = [name, ours].into_iter().find(|name| given.get(*name).is_some_and(Value::is_array));
        if let Some(found) = found {
            state[name] = list(given, found);
        }
    }
    let convergence = ["convergenceMetrics", "convergence"].into_iter().find(|name| given[*name].is_object());
    if let Some(convergence) = convergence.map(|name| object(given, name)) {
        state["convergenceMetrics"] = json!({
            "rate": number(&convergence, "rate"),
            "plateau_generations": number(&convergence, "plateau_generations"),
            "improvement_threshold": number(&convergence, "improvement_threshold"),
            "is_converged": truth(&convergence, "is_converged", false),
        });
    }
    state
}
