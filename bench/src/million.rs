//! A database of some years' use: a million notifications with their attempts, a million finished tasks, 200,000 customers.

use std::error::Error;

use sqlx::{Connection, PgConnection};

use crate::stage::Stage;

const NOTIFICATIONS: i32 = 1_000_000;
const TASKS: i32 = 1_000_000;
const CUSTOMERS: i32 = 200_000;

/// Written with one statement.
const BATCH: usize = 100_000;

/// Spread over the last 30 days, the newest first.
pub(crate) async fn fill(stage: &Stage) -> Result<(), Box<dyn Error + Send + Sync>> {
    eprintln!("writing {NOTIFICATIONS} notifications of the last 30 days, {TASKS} tasks and {CUSTOMERS} customers…");
    // Not through the product's own sessions, whose limits of time are for requests.
    let mut connection = PgConnection::connect(&stage.url).await?;
    make_functions(&mut connection, stage).await?;
    for (what, rows) in [
        (WRITE_NOTIFICATIONS, NOTIFICATIONS),
        (WRITE_ATTEMPTS, NOTIFICATIONS),
        (WRITE_TASKS, TASKS),
        (WRITE_CUSTOMERS, CUSTOMERS),
    ] {
        for first in (0..rows).step_by(BATCH) {
            sqlx::query(what).bind(first).bind(first + BATCH as i32 - 1).execute(&mut connection).await?;
        }
    }
    sqlx::query(WRITE_SAMPLES).execute(&mut connection).await?;
    sqlx::raw_sql("vacuum analyze").execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// `bench_at(n)`: when the n-th was written. `bench_id(n, what)`: an id of that moment, as ours are. `bench_message(n)`: the same
/// for a message; ids of a chain differ in their last three bits. All are arithmetic, so that PostgreSQL writes them into the statement.
async fn make_functions(connection: &mut PgConnection, stage: &Stage) -> Result<(), Box<dyn Error + Send + Sync>> {
    let now = stage.context.clock.now().as_millis();
    let millis = format!("({now} - 2592000000 / {NOTIFICATIONS} * n)");
    for text in [
        format!(
            "create function bench_at(n integer) returns timestamptz language sql immutable parallel safe as
             'select to_timestamp({millis} / 1000.0::float8)'"
        ),
        format!(
            "create function bench_id(n integer, what text) returns uuid language sql immutable parallel safe as
             'select (lpad(to_hex({millis}), 12, ''0'') || ''7'' || substr(md5(what || n), 1, 3) || ''8'' ||
                      substr(md5(what || n), 4, 15))::uuid'"
        ),
        "create function bench_message(n integer) returns uuid language sql immutable parallel safe as
         'select (substr(bench_id(n / 2 * 2, ''notification'')::text, 1, 35) || n % 2)::uuid'"
            .to_owned(),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Most were sent, some arrived, some failed; half of the rows are channels in reserve that had no turn, as in real chains.
const WRITE_NOTIFICATIONS: &str = "
     insert into notifications (id, correlation_id, task_id, event_type, customer_id, target, channel, fallback_order,
         status, recipient_address, template_name, subject, body, is_html, retry_count, max_retries, redrives, error_code,
         error_reason, reserve_status, critical, sent_at, provider, delivered_at, closed_at, created_at, updated_at)
     select bench_message(n), md5('event' || n / 2)::uuid, bench_id(n / 2 * 2, 'task'),
            (array['appointment_scheduled', 'vehicle_received', 'repair_started', 'quality_check', 'vehicle_ready'])[1 + n / 2 % 5],
            'customer-' || lpad((n / 2 % 1000)::text, 4, '0'), 'clients',
            case when n % 2 = 1 then 'whatsapp' when n % 3 = 0 then 'push' else 'email' end, n % 2,
            case when n % 2 = 1 then 'pending' when n % 100 = 0 then 'failed' when n % 5000 = 2 then 'bounced'
                 when n % 3 = 0 then 'delivered' else 'sent' end,
            'carlos@example.com', 'Cita agendada (email)', 'Mantenimiento agendado', repeat('Estimado cliente. ', 40),
            false, 0, 3, 0, case when n % 100 = 0 then 'EMAIL_SEND_FAILED' end,
            case when n % 100 = 0 then '554 Message rejected' end, 'pending', false,
            case when n % 2 = 0 and n % 100 <> 0 then at end, case when n % 2 = 0 then 'env' end,
            case when n % 3 = 0 and n % 100 <> 0 then at + interval '2 seconds' end,
            case when n % 100 = 0 or n % 5000 = 2 then at end, at, at
     from (select n, bench_at(n) as at from generate_series($1, $2) as n) as written";

/// One for each that had its turn.
const WRITE_ATTEMPTS: &str = "
     insert into attempts (notification_id, id, number, channel, started_at, duration_ms, outcome, error_code, error_reason,
         provider_status, provider_answer, provider)
     select bench_message(n), bench_id(n, 'attempt'), 1, case when n % 3 = 0 then 'push' else 'email' end,
            bench_at(n), 40, case when n % 100 = 0 then 'permanent' else 'sent' end,
            case when n % 100 = 0 then 'EMAIL_SEND_FAILED' end, case when n % 100 = 0 then '554 Message rejected' end,
            case when n % 100 = 0 then 554 else 250 end, '2.0.0 Ok', 'env'
     from generate_series($1, $2, 2) as n";

/// Half of them delivered the chains, half kept customers in step; one in a hundred is dead.
const WRITE_TASKS: &str = "
     insert into tasks (id, kind, payload, lane, priority, state, run_at, rung_at, attempt, failures, lost_leases, suspect_group,
         begun, cut_off, worker, started_at, error, result, correlation_id, created_at, finished_at)
     select bench_id(n, 'task'), case when n % 2 = 0 then 'send_notification' else 'sync_customer' end,
            case when n % 2 = 0 then '{\"channel\": \"email\"}'::jsonb
                 else jsonb_build_object('customer_id', 'customer-' || lpad((n % 1000)::text, 4, '0')) end,
            case when n % 2 = 0 then 'notifications.email' else 'sync' end, 1,
            case when n % 100 = 0 then 'dead' else 'success' end, at, at, 1, 0, 0, 0, true, false, 'host:1:a', at,
            case when n % 100 = 0 then 'EMAIL_SEND_FAILED: 554 Message rejected' end, '{\"status\": \"sent\"}'::jsonb,
            case when n % 2 = 0 then md5('event' || n / 2)::uuid end, at, at + interval '1 second'
     from (select n, bench_at(n) as at from generate_series($1, $2) as n) as written";

/// Twenty first names and four hundred pairs of last names, so that names repeat as names do.
const WRITE_CUSTOMERS: &str = "
     insert into customers (id, customer_id, first_name, last_name, email, phone, whatsapp, created_at, updated_at)
     select bench_id(n, 'customer'), 'card-' || lpad(n::text, 6, '0'),
            first_names[1 + n % 20], last_names[1 + n / 20 % 20] || ' ' || last_names[1 + n / 400 % 20],
            'person.' || n || '@example.com', '+5939' || lpad(n::text, 8, '0'), '+5939' || lpad(n::text, 8, '0'),
            bench_at(n), bench_at(n)
     from generate_series($1, $2) as n,
          (select array['María', 'José', 'Ana', 'Luis', 'Carmen', 'Juan', 'Rosa', 'Carlos', 'Lucía', 'Jorge', 'Elena', 'Pedro',
                        'Sofía', 'Diego', 'Paula', 'Andrés', 'Marta', 'Raúl', 'Inés', 'Hugo'] as first_names,
                  array['Mendoza', 'Pérez', 'Torres', 'Vega', 'Zambrano', 'Cedeño', 'Molina', 'Castro', 'Ríos', 'Paz', 'Suárez',
                        'Loor', 'Vera', 'Núñez', 'Salazar', 'Ortiz', 'Bravo', 'Quiroz', 'Espinoza', 'Alarcón'] as last_names) as names";

/// Minutes of an hour, ten minutes of a day, hours of thirty days, for each lane that delivers.
const WRITE_SAMPLES: &str = "
     insert into samples (at, minutes, lane, account, process, accepted, done, retried, dead, sent, deferred, failed, delivered, depth,
         oldest_ms, waits, runs, sends)
     select date_trunc('hour', bench_at(0)) - n * minutes * interval '1 minute', minutes, lane, account, '',
            minutes * 20, minutes * 19, 0, minutes / 10, minutes * 19, 0, minutes / 10, minutes * 6, 3, 200,
            '[1,5,5,4,3,2]', '[1,5,5,4,3,2]', '[0,0,0,5,9,4]'
     from (values (1, 60), (10, 144), (60, 720)) as kept (minutes, how_many), generate_series(0, how_many) as n,
          unnest(array['notifications.email', 'notifications.whatsapp', 'notifications.push', 'dispatch', 'sync']) as lane,
          unnest(array['', 'env']) as account
     on conflict do nothing";
