//! Evolution: generations and their fitness.

use serde_json::{Value, json};

use super::fields::{list, number, number_of, object, time, time_of, truth, with};
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
    let state = state_of(&object(data, "state"), running, &generation, &fitness);
    json!({ "generation": generation, "fitness": fitness, "state": state, "timestamp": time(told) })
}

/// The page's picture, from a runner's state in the page's names or in ours.
fn state_of(given: &Value, running: bool, generation: &Value, fitness: &Value) -> Value {
    let convergence = ["convergenceMetrics", "convergence"].into_iter().find(|name| given[*name].is_object());
    let convergence = object(given, convergence.unwrap_or_default());
    let named = |name: &str| given.get(name).is_some_and(Value::is_array);
    let history = ["fitnessHistory", "fitness_history"].into_iter().find(|name| named(name));
    let recipes = if named("bestRecipes") { "bestRecipes" } else { "best_recipes" };
    let state = json!({
        "isRunning": running,
        "currentGeneration": generation,
        "maxGenerations": number_of(given, &["maxGenerations", "max_generations", "generations"]),
        "populationSize": number_of(given, &["populationSize", "population_size"]),
        "bestRecipes": list(given, recipes),
        "fitnessHistory": history.map_or_else(|| json!([fitness]), |name| list(given, name)),
        "convergenceMetrics": {
            "rate": number(&convergence, "rate"),
            "plateau_generations": number(&convergence, "plateau_generations"),
            "improvement_threshold": number(&convergence, "improvement_threshold"),
            "is_converged": truth(&convergence, "is_converged", false),
        },
        "elapsedTime": number_of(given, &["elapsedTime", "elapsed_time"]),
    });
    with(state, given)
}
