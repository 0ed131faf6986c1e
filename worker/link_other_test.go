//go:build !linux

package main_test

import "time"

func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }
