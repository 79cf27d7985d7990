//! What PostgreSQL spends its time on, statement by statement, as `pg_stat_statements` counts it.

use sqlx::PgPool;

/// Most expensive first.
const SHOWN: i32 = 12;

/// Characters of a statement that are printed.
const WIDTH: usize = 110;

/// Begins to count, from zero.
///
/// # Errors
/// When the server was not started with the library (`scripts/peers.sh … --statements`).
pub(crate) async fn reset(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::raw_sql("create extension if not exists pg_stat_statements").execute(pool).await?;
    sqlx::raw_sql("select pg_stat_statements_reset()").execute(pool).await.map(drop)
}

/// Prints the statements of this database that took most time, with their share of the time of all.
///
/// # Errors
/// When the database cannot be asked.
pub(crate) async fn print(pool: &PgPool, title: &str) -> sqlx::Result<()> {
    let found: Vec<(i64, f64, f64, f64, String)> = sqlx::query_as(
        "select calls, total_exec_time, mean_exec_time, 100 * total_exec_time / sum(total_exec_time) over (), query
         from pg_stat_statements where dbid = (select oid from pg_database where datname = current_database())
             and query not like '%pg_stat_statements%'
         order by total_exec_time desc limit $1",
    )
    .bind(SHOWN)
    .fetch_all(pool)
    .await?;
    println!("\n{title}: PostgreSQL's time by statement");
    println!("{:>6} {:>10} {:>8} {:>9}  statement", "share", "total ms", "calls", "mean ms");
    for (calls, total, mean, share, statement) in found {
        println!("{share:>5.1}% {total:>10.1} {calls:>8} {mean:>9.3}  {}", on_one_line(&statement));
    }
    println!();
    Ok(())
}

fn on_one_line(statement: &str) -> String {
    let line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= WIDTH { line } else { line.chars().take(WIDTH - 1).chain(['…']).collect() }
}
