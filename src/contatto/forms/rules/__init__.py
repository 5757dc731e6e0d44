"""Texts, logic, editing, publishing and answers of forms, as pure functions."""
