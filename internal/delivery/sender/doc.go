// Package sender sends the messages of a claimed batch over connections to drop points, under the
// ledger's protocol. It sends to every recipient of the batch who has no outcome yet.
//
// # The path of a message
//
//	claim        activities.SendBatch claims the batch and runs a [Sending]   sender.go
//	  ▼
//	queue        gives out the next message that the rate limits allow        queue.go, item.go
//	  ▼
//	connection   a goroutine for each connection of each drop point:          connection.go
//	  ├─ Begin   envelope and body, all but the final step                    package droppoint
//	  ├─ gate    meanwhile one commit: the result of the message before,      ledger.Gate
//	  │          and the intent to send this one
//	  ├─ Finish  the final step, only after that commit, and the answer       package droppoint
//	  ▼
//	result       what the answer means; committed with the next intent        connection.go
//	  │          a refusal is in doubt until others are accepted or refused   refusals.go, doubts.go, evidence.go
//	  ▼
//	report       the batch and its drop points, for the workflow              report.go
//
// A crash means for the message:
//
//	before the intent is committed    not sent; the next claim finds no attempt
//	after it, before the final step   not sent, but the ledger cannot know that: uncertain
//	after the final step              sent or not: uncertain
//	after the result is committed     the outcome stands
//
// So at most one message of each connection is uncertain, and the ledger names its recipient.
//
// # Several drop points
//
// The connections of all drop points take messages from one queue. So the drop point that is free
// takes the next message, and a slow one delays only the messages on its own connections. A batch
// that could use a faster drop point needs a slot to use a slow one (droppoints.go), because its
// turn on the worker ends only when the slow drop point has answered. If that takes long, the other
// drop points go on with the batch meanwhile (turn.go).
//
// A message that waits for the limit of its recipient's domain lets messages to other domains pass.
// One that waits for the limit of the mailing or of a drop point does not (ratelimits.go).
package sender
