package report

import "strings"

// failedWords, delayedWords and deliveredWords are what a mail system writes to people, in lower
// case.
var (
	failedWords = []string{"could not be delivered", "not be delivered", "couldn't be delivered", "wasn't delivered",
		"undeliver", "unable to deliver", "wasn't able to deliver", "not able to deliver", "cannot deliver",
		"can't be delivered", "cannot be delivered", "delivery failed", "delivery has failed", "delivery failure",
		"failed permanently", "failure notice", "failed delivery", "delivery error", "returned mail", "returned to sender",
		"returning message", "mail delivery fail", "delivery problem", "did not reach", "mail failure", "not delivered",
		"error delivering", "error sending your mail", "trouble delivering", "rejected your message", "was not sent",
		"could not be sent", "permanent error", "permanent fatal error", "fatal error", "mail error", "error message below",
		"mail system error", "was blocked", "not relayed", "message refused", "message rejected", "failure reason",
		"delivery status notification: error", "delivery status notification: failed", "has been rejected",
		"mailbox is full", "unknown user", "user unknown", "delivery status notification", "transcript of session",
		"bounced", "non-deliverable", "nondeliver", "undelivered", "delivery to the following recipient",
		"non remis", "unzustellbar", "nicht zugestellt", "zustellung", "échec de la remise", "no se puede entregar",
		"no se ha podido", "entrega", "impossibile consegnare", "mancata", "не доставлено", "недоставленное",
		"送信できません", "配信不能", "配送不能", "配信できません", "エラーメール", "届けることができません", "送信エラー", "メールシステムエラー",
		"送信に失敗", "original mail as follows", "onbestelbaar", "退信", "无法投递", "niedostarcz", "nie dostarczono"}
	delayedWords = []string{"delayed", "will continue to try", "will keep trying", "has not yet been delivered",
		"still being retried", "still trying", "warning message only", "could not send message for past",
		"will be retried", "do not need to resend", "delivery incomplete", "temporary problem delivering",
		"not yet been delivered", "verzögert", "retardé", "only a temporary failure report"}
	deliveredWords = []string{"successfully delivered", "was successfully", "delivery status notification (success",
		"successful mail delivery", "message delivered", "has been delivered to", "(relayed)", "(relay)"}
)

// outcomeOf says what a text of a mail system reports: Soft for a failure, Delayed, Delivered, or
// Unknown if it is no report of a mail system.
func outcomeOf(v *view) Class {
	if !v.system && !(nullReturn(v.header) || v.cut || v.inner) {
		return Unknown
	}
	if !v.system && isAnswer(v) {
		return Unknown
	}
	switch {
	case containsAny(v.subject, delayedWords),
		containsAny(v.lower, delayedWords) && !strings.Contains(v.lower, "permanent"):
		return Delayed
	case containsAny(v.lower, deliveredWords) && !containsAny(v.subject, failedWords):
		return Delivered
	case containsAny(v.lower, failedWords):
		return Soft
	}
	if _, blocks := blocksIn(v.text); v.system && len(blocks) > 0 {
		e := evidence{text: blocks[0].text}
		if e.tells() {
			return Soft
		}
	}
	return Unknown
}

func containsAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}
