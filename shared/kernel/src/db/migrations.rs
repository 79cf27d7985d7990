//! The schema is brought up to date, by any number of processes at once, and through whatever stands before the server.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Executor, PgPool, SqlitePool};

use super::{Db, dialect, search};

type Result<T> = std::result::Result<T, MigrateError>;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// One transaction, and its own limits: an index on a large table takes longer than a statement of every day may.
///
/// The lock is the transaction's own. One of the session would stay with a pooler's connection, and so would a prepared
/// statement that has a name: what runs here has none (sqlx's own runner leaves `sqlx_s_1` on the server).
const BEGIN: &str = "begin; set local lock_timeout = 0; set local statement_timeout = 0; \
    set local idle_in_transaction_session_timeout = 0; select pg_advisory_xact_lock(7165916604730404)";

/// The table of sqlx, so that its tools read it.
const TABLE: &str = "create table if not exists _sqlx_migrations (version bigint primary key, description text not null, \
    installed_on timestamptz not null default now(), success boolean not null, checksum bytea not null, \
    execution_time bigint not null)";

impl Db {
    /// Brings the schema up to date. Any number of processes may do so at once.
    pub async fn migrate(&self) -> Result<()> {
        match self {
            Self::Postgres { pool, .. } => migrate_postgres(pool).await,
            Self::Sqlite { writer, .. } => migrate_sqlite(writer).await,
        }
    }

    /// The migrations that this program has and the database has not: `0102 samples`.
    ///
    /// # Errors
    /// When there is no schema at all, or the database cannot be asked.
    pub async fn pending_migrations(&self) -> sqlx::Result<Vec<String>> {
        let mut session = self.read().await?;
        let applied: Vec<(i64,)> = crate::sql!(all(i64,), &mut session, "select version from _sqlx_migrations")?;
        let is_pending = |version: i64| !applied.contains(&(version,));
        let pending = MIGRATIONS.iter().filter(|migration| is_pending(migration.version));
        Ok(pending.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect())
    }
}

/// The migrations, and the indexes in which rows are searched.
async fn migrate_sqlite(writer: &SqlitePool) -> Result<()> {
    MIGRATIONS.run(writer).await?;
    let mut transaction = writer.begin().await?;
    for searched in [search::CUSTOMERS, search::VEHICLES] {
        transaction.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(searched.sqlite_index()))).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn migrate_postgres(pool: &PgPool) -> Result<()> {
    // Detached: what goes wrong here leaves no transaction behind in the pool.
    let mut connection = pool.acquire().await?.detach();
    connection.execute(BEGIN).await?;
    run(&mut connection).await?;
    connection.execute(dialect::POSTGRES_STORAGE).await?;
    for searched in [search::CUSTOMERS, search::VEHICLES] {
        connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(searched.postgres_index()))).await?;
    }
    connection.execute("commit").await?;
    Ok(())
}

async fn run(connection: &mut PgConnection) -> Result<()> {
    connection.execute(TABLE).await?;
    let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as("select version, checksum from _sqlx_migrations")
        .persistent(false)
        .fetch_all(&mut *connection)
        .await?;
    if let Some((unknown, _)) = applied.iter().find(|(version, _)| !MIGRATIONS.version_exists(*version)) {
        return Err(MigrateError::VersionMissing(*unknown));
    }
    for migration in MIGRATIONS.iter() {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            Some((_, checksum)) if checksum[..] == migration.checksum[..] => continue,
            Some(_) => return Err(MigrateError::VersionMismatch(migration.version)),
            None => {}
        }
        let executed = connection.execute(sqlx::raw_sql(migration.sql.clone())).await;
        executed.map_err(|error| MigrateError::ExecuteMigration(error, migration.version))?;
        sqlx::query(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values ($1, $2, true, $3, -1)",
        )
        .bind(migration.version)
        .bind(migration.description.as_ref())
        .bind(migration.checksum.as_ref())
        .persistent(false)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
