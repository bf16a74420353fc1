//! The ring as criterion benchmarks: `cargo bench -p wasm-engine-bench`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wasm_engine_bench::{bare, engine};

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.sample_size(20);
    for agents in [1_000, 10_000] {
        group.throughput(Throughput::Elements(u64::from(agents)));
        let mut simulation = engine::ring(agents, 1);
        let pool = simulation.pool();
        group.bench_with_input(BenchmarkId::new("engine", agents), &agents, |bencher, &agents| {
            pool.install(|| bencher.iter(|| engine::frame(&mut simulation, agents)));
        });
        let mut ring = pool.install(|| bare::Ring::new(agents));
        group.bench_with_input(BenchmarkId::new("bare", agents), &agents, |bencher, _| {
            pool.install(|| bencher.iter(|| ring.frame()));
        });
    }
    group.finish();
}

criterion_group!(benches, ring);
criterion_main!(benches);
