// Starts a mailing, prints what it does, and waits for its end.
//
//   npm ci && npm run build && node start.js spring-2026
//
// It needs a worker of Direct Mailer, and a stored list "subscribers" with the columns first_name
// and city. TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE say where Temporal is, DM_TASK_QUEUE the
// workers' task queue.
import {
  ApplicationFailure,
  Client,
  Connection,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
} from '@temporalio/client';

// The whole input is described in docs/mailing.schema.json.
interface Input {
  id?: string;
  from: string;
  subject: string;
  list: string;
  content: { text?: string; html?: string };
}

interface Status {
  state: string;
  doing: string;
}

interface Result {
  id: string;
  state: string;
  recipients: number;
  counts: { sent: number; bounced: number };
}

async function main(id: string): Promise<void> {
  const connection = await Connection.connect({ address: process.env.TEMPORAL_ADDRESS ?? 'localhost:7233' });
  try {
    const client = new Client({ connection, namespace: process.env.TEMPORAL_NAMESPACE ?? 'default' });
    const input: Input = {
      from: 'Example News <news@example.com>',
      subject: 'Hello {{.first_name}}',
      list: 'subscribers',
      content: { text: 'Hello {{.first_name}},\n\nnews from {{.city}}.\n' },
    };
    // A mailing's ID is used once: Temporal refuses a second start at once, and the database
    // refuses it always.
    const mailing = await client.workflow.start('Mailing', {
      workflowId: id,
      taskQueue: process.env.DM_TASK_QUEUE ?? 'direct-mailer',
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
      workflowIdConflictPolicy: 'FAIL',
      args: [input],
    });
    const status = await mailing.query<Status>('status');
    console.log(`${status.state}: ${status.doing}`);

    const result: Result = await mailing.result();
    const { sent, bounced } = result.counts;
    console.log(`${result.state}: ${sent} of ${result.recipients} sent, ${bounced} bounced`);
  } finally {
    await connection.close();
  }
}

function explain(err: unknown): string {
  if (err instanceof WorkflowExecutionAlreadyStartedError) {
    return 'this mailing was started before: nothing is sent again';
  }
  const cause = err instanceof WorkflowFailedError ? err.cause : undefined;
  if (cause instanceof ApplicationFailure && cause.type === 'InvalidInput') {
    const problems = cause.details?.[0] as { field: string; message: string }[];
    return ['nothing was sent', ...problems.map((p) => `${p.field}: ${p.message}`)].join('\n');
  }
  return String(err);
}

const id = process.argv[2];
if (id === undefined || process.argv.length > 3) {
  console.error('usage: node start.js ID');
  process.exit(2);
}
main(id).catch((err) => {
  console.error(explain(err));
  process.exit(1);
});
