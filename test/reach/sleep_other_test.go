//go:build !linux

package reach

import "time"

func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }
