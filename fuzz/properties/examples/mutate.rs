//! x
use std::time::*;
fn main() {
    let secs: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let only = std::env::args().nth(2);
    let mut x: u64 = 0x9e3779b97f4a7c15;
    let mut rnd = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    if true {
        std::panic::set_hook(Box::new(|i| {
            if let Some(l) = i.location() {
                if l.file().contains("mutate") {
                    println!("{i}")
                }
            }
        }));
    }
    for (name, p) in tidings_properties::PROPERTIES {
        if only.as_deref().is_some_and(|o| o != name) {
            continue;
        }
        let mut seeds: Vec<Vec<u8>> = std::fs::read_dir(format!("fuzz/seeds/{name}"))
            .unwrap()
            .map(|f| std::fs::read(f.unwrap().path()).unwrap())
            .collect();
        seeds.sort();
        let t = Instant::now();
        let mut n = 0u64;
        let mut bad = 0;
        while t.elapsed() < Duration::from_secs(secs) {
            let mut s = seeds[rnd() as usize % seeds.len()].clone();
            for _ in 0..1 + rnd() % 5 {
                if s.is_empty() {
                    s.push(rnd() as u8);
                }
                let l = s.len();
                let i = rnd() as usize % l;
                match rnd() % 8 {
                    0 => s[i] = rnd() as u8,
                    1 => s[i] ^= 1 << (rnd() % 8),
                    2 => {
                        s.remove(i);
                    }
                    3 => s.insert(i, rnd() as u8),
                    4 => {
                        let j = rnd() as usize % l;
                        let (a, b) = (i.min(j), i.max(j));
                        let c = s[a..b].to_vec();
                        let k = rnd() as usize % (l + 1);
                        s.splice(k..k, c);
                    }
                    5 => {
                        let j = rnd() as usize % l;
                        let (a, b) = (i.min(j), i.max(j).min(i.min(j) + 20));
                        s.drain(a..b);
                    }
                    6 => {
                        let o = &seeds[rnd() as usize % seeds.len()];
                        if !o.is_empty() {
                            let a = rnd() as usize % o.len();
                            let b = (a + 1 + rnd() as usize % 30).min(o.len());
                            let c = o[a..b].to_vec();
                            s.splice(i..i, c);
                        }
                    }
                    _ => s[i] = b"0123456789,:{}[]\"\\ \n-.+e%"[rnd() as usize % 25],
                }
            }
            n += 1;
            let r = std::panic::catch_unwind(|| p(&s));
            if let Err(e) = r {
                bad += 1;
                if bad <= 3 {
                    let m = e
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| e.downcast_ref::<&str>().map(|s| s.to_string()))
                        .unwrap_or_default();
                    println!(
                        "  {name}: {} <- {:?}",
                        m.chars().take(1500).collect::<String>(),
                        String::from_utf8_lossy(&s).chars().take(400).collect::<String>()
                    );
                    std::fs::write(format!("/tmp/t/bad-{name}-{bad}"), &s).unwrap();
                }
            }
        }
        println!("{name}: {n} runs, {bad} bad");
    }
}
